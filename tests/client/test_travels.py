"""The user's own modules are there in jobs, wherever a script has them from; exceptions and tracebacks come back."""

import importlib.machinery
import os
import py_compile
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from octapi.testing import EmbeddedCluster

Run = Callable[..., str]

BEGIN = "import octapi\nwith octapi.Cluster() as c:\n    ask = lambda f, *a: c.submit(f, *a).result(timeout=60)\n"


@pytest.fixture(scope="module", params=["local", "cluster"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Name this computer's own cores, and a cluster."""
    if request.param == "local":
        yield "local"
        return
    with EmbeddedCluster(workers=1, slots=2) as cluster:
        yield cluster.address


@pytest.fixture
def start(address: str, tmp_path: Path) -> Run:
    """Return what runs a command where nothing of the user's lies, and returns what it said."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(*command: str, cwd: Path = elsewhere, given: str | None = None, error: str = "", **more: str) -> str:
        env = dict(os.environ, OCTAPI_ADDRESS=address, OCTAPI_SLOTS="2", **more)
        done = subprocess.run(
            [sys.executable, *command], cwd=cwd, env=env, input=given, capture_output=True, text=True, timeout=180,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert error in done.stderr, done.stderr
        return done.stdout.strip()

    return run


def write(place: Path, text: str) -> Path:
    """Write a file below directories that need not be there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(textwrap.dedent(text))
    return place


def script(place: Path, top: str, inside: str) -> str:
    """Write a script: its top level, and what it does with its cluster ``c``; return its path."""
    text = textwrap.dedent(top) + BEGIN + textwrap.indent(textwrap.dedent(inside), "    ")
    place.write_text(text)
    return str(place)


def test_modules_beside_the_script_are_there(tmp_path: Path, start: Run) -> None:
    """A module, what it imports in turn, one that only the job imports, a package with data, a namespace package."""
    home = tmp_path / "home"
    write(home / "first.py", "import second\ndef one(): return second.two()\n")
    write(home / "second.py", "def two(): return 2\n")
    write(home / "late.py", "VALUE = 3\n")
    write(home / "full/__init__.py", "import pathlib\nTEXT = pathlib.Path(__file__).with_name('t.txt').read_text()\n")
    write(home / "full/t.txt", "data")
    write(home / "full/deep/more.txt", "deep data")
    write(home / "space/calc.py", "from .inner import deep\ndef triple(x): return deep.times(3, x)\n")
    write(home / "space/inner/deep.py", "def times(a, b): return a * b\n")
    top = """
        import first, full
        from space.calc import triple
        def lazy():
            import late
            return late.VALUE
        def data():
            import importlib.resources as r
            return full.TEXT, (r.files("full") / "deep" / "more.txt").read_text()
    """
    path = script(home / "s.py", top, "print(ask(first.one), ask(lazy), ask(data), ask(triple, 2))")
    assert start(path) == "2 3 ('data', 'deep data') 6"


def test_modules_from_elsewhere_are_there(tmp_path: Path, start: Run) -> None:
    """From a place added to ``sys.path``, from archives, from a file loaded by its path, and compiled ones."""
    write(tmp_path / "added/extra.py", "def run(): return 'added'\n")
    archive = tmp_path / "lib.zip"
    with zipfile.ZipFile(archive, "w") as found:
        found.writestr("packed/__init__.py", "from .core import run\n")
        found.writestr("packed/core.py", "import single\ndef run(): return single.VALUE\n")
        found.writestr("single.py", "VALUE = 'archive'\n")
    write(tmp_path / "plugins/blur.py", "def run(): return 'plugin'\n")
    source = write(tmp_path / "source/bare.py", "def run(): return 'compiled'\n")
    (tmp_path / "home").mkdir()
    py_compile.compile(str(source), cfile=str(tmp_path / "home/bare.pyc"))
    top = f"""
        import importlib.util, sys
        sys.path.insert(0, {str(tmp_path / "added")!r})
        sys.path.append({str(archive)!r})
        import bare, extra, packed
        spec = importlib.util.spec_from_file_location("plugin_blur", {str(tmp_path / "plugins/blur.py")!r})
        plugin = importlib.util.module_from_spec(spec)
        sys.modules["plugin_blur"] = plugin
        spec.loader.exec_module(plugin)
        def every(): return [m.run() for m in (extra, packed, plugin, bare)]
    """
    path = script(tmp_path / "home/s.py", top, "print(*ask(every), ask(plugin.run), ask(packed.run))")
    assert start(path) == "added archive plugin compiled plugin archive"


def test_an_extension_module_beside_the_script_is_there(tmp_path: Path, start: Run) -> None:
    """It goes to workers of the same kind, as it is."""
    import _queue

    found = getattr(_queue, "__file__", None)
    if found is None:
        pytest.skip("this Python has no extension module in a file of its own")
    home = tmp_path / "home/fast"
    home.mkdir(parents=True)
    (home / f"_queue{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(Path(found).read_bytes())
    write(
        home / "__init__.py", "from . import _queue\ndef run(): return _queue.__name__, _queue.SimpleQueue().empty()\n"
    )
    path = script(tmp_path / "home/s.py", "import fast\n", "print(*ask(fast.run))")
    assert start(path) == "fast._queue True"


def test_a_package_run_with_m_has_its_relative_imports(tmp_path: Path, start: Run) -> None:
    """In functions too, and also for the package's own ``__main__``."""
    home = tmp_path / "home"
    write(home / "pkg/__init__.py", "")
    write(home / "pkg/util.py", "def inc(x): return x + 1\n")
    write(
        home / "pkg/run.py",
        """
        from .util import inc
        import octapi
        def f(x): return inc(x)
        def g(x):
            from . import util
            return util.inc(x)
        def main():
            with octapi.Cluster() as c:
                print(list(c.map(f, [1, 2])), c.submit(g, 5).result(timeout=60))
        if __name__ == "__main__": main()
        """,
    )
    write(home / "pkg/__main__.py", "from .run import main\nmain()\n")
    assert start("-m", "pkg.run", cwd=home) == "[2, 3] 6"
    assert start("-m", "pkg", cwd=home) == "[2, 3] 6"


def test_code_that_was_never_in_a_file_works(start: Run) -> None:
    """Of ``-c``, of standard input, and of an interactive prompt, where functions are defined again."""
    text = "import octapi\ndef f(x): return x + 1\nwith octapi.Cluster() as c:\n    print(list(c.map(f, [1, 2])))\n"
    assert start("-c", text) == "[2, 3]"
    assert start("-", given=text) == "[2, 3]"
    typed = (
        "import octapi\nc = octapi.Cluster()\ndef f(x): return x + 1\n\nprint(c.submit(f, 1).result())\n"
        "def f(x): return g(x) + 100\n\ndef g(x): return x\n\nprint(c.submit(f, 1).result())\nc.shutdown()\n"
    )
    assert start("-i", "-q", given=typed) == "2\n101"


@pytest.mark.parametrize("mode", ["prepend", "append", "importlib"])
def test_functions_of_test_modules_run_in_jobs(mode: str, tmp_path: Path, start: Run) -> None:
    """Whichever way pytest imports them; their exceptions can be expected."""
    write(
        tmp_path / "home/tests/test_it.py",
        """
        import octapi, pytest
        class E(Exception):
            def __init__(self, a, b): super().__init__(a); self.b = b
        def f(x):
            if x < 0: raise E("neg", x)
            return x + 1
        def test_all():
            with octapi.Cluster() as c:
                assert list(c.map(f, [1, 2])) == [2, 3]
                with pytest.raises(E) as found: c.submit(f, -1).result(timeout=60)
                assert found.value.b == -1
                k = 5
                assert c.submit(lambda: k).result(timeout=60) == 5
        """,
    )
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--import-mode={mode}", "tests"]
    assert "1 passed" in start(*command, cwd=tmp_path / "home")


def test_what_does_not_travel_is_said_once(tmp_path: Path, start: Run) -> None:
    """A package's data that is too large is named, and the rest is there."""
    home = tmp_path / "home"
    write(home / "full/__init__.py", "def run(): return 1\n")
    with (home / "full/huge.bin").open("wb") as huge:
        huge.truncate(100 << 20)
    path = script(home / "s.py", "import full\n", "print(ask(full.run), ask(lambda: full.run() + 1))")
    assert start(path, error="huge.bin (105 MB)") == "1 2"


def test_tracebacks_show_the_lines_of_the_script(tmp_path: Path, start: Run) -> None:
    """From the user's first frame on, with file, line and text; and so does :mod:`inspect`."""
    top = """
        import inspect, traceback
        def inner(n):
            return 10 / n  # here
        def work(n):
            return inner(n)
        def source(): return inspect.getsource(inner)
    """
    inside = """
        text = "".join(traceback.format_exception(c.submit(work, 0).exception(timeout=60)))
        remote = text.partition("direct cause")[0]
        assert "return 10 / n  # here" in remote and __file__ in remote, remote
        assert "/octapi/" not in remote, remote
        assert remote.index("in work") < remote.index("in inner")
        assert ask(source) == inspect.getsource(inner)
        try: list(c.map(work, [1, 0]))
        except ZeroDivisionError as error: assert "# here" in "".join(traceback.format_exception(error))
        print("right")
    """
    assert start(script(tmp_path / "s.py", top, inside)) == "right"


def test_exceptions_arrive_by_submit_and_by_map(tmp_path: Path, start: Run) -> None:
    """Their causes are exceptions, with the worker's traceback behind the last."""
    top = """
        import traceback
        class Two(Exception):
            def __init__(self, code, text): super().__init__(f"{code}: {text}"); self.code = code
        def chain():
            try: {}["k"]
            except KeyError as error: raise Two(5, "bad") from error
        def stop(): raise StopIteration("end")
        def interrupt(): raise KeyboardInterrupt
        def leave(): raise GeneratorExit
        def back(how, f):
            try: return c.submit(f).result(timeout=60) if how == "submit" else list(c.map(lambda _: f(), [1]))
            except BaseException as error: return error
    """
    inside = """
        for how in ("submit", "map"):
            error = back(how, chain)
            assert type(error) is Two and error.code == 5 and type(error.__cause__) is KeyError, repr(error)
            text = "".join(traceback.format_exception(error))
            assert 'raise Two(5, "bad") from error' in text and "in chain" in text, text
            assert type(back(how, interrupt)) is KeyboardInterrupt
            assert type(back(how, leave)) is GeneratorExit
        assert type(back("submit", stop)) is StopIteration
        error = back("map", stop)
        assert type(error) is RuntimeError and type(error.__cause__) is StopIteration and "end" in str(error)
        print("right")
    """
    assert start(script(tmp_path / "s.py", top, inside)) == "right"


def test_an_error_at_one_job_harms_no_other(tmp_path: Path, start: Run) -> None:
    """Arguments and results that cannot be loaded, and ones that cannot be pickled, fail by name; the others go on."""
    top = """
        import threading
        class Bad:
            def __init__(self, where): self.where = where
            def __reduce__(self): return make, (self.where,)
        def make(where):
            import octapi.job_context
            inside = octapi.job_context._slot is not None
            if (where == "there") == inside: raise ValueError(f"cannot be made {where}")
            return Bad(where)
        def take(*args): return len(args)
        def give(): return Bad("here")
        def lock(): return {"a": [threading.Lock()]}
        def words(job):
            error = job.exception(timeout=60)
            return str(error) + " ".join(getattr(error, "__notes__", []))
    """
    inside = """
        jobs = [c.submit(take, 1), c.submit(take, 1, Bad("there")), c.submit(give), c.submit(lock)]
        jobs.append(c.submit(take, 1, 2))
        late = c.submit(take, 1, threading.Lock())
        assert jobs[0].result(timeout=60) == 1 and jobs[4].result(timeout=60) == 2
        assert "cannot be made there" in words(jobs[1]) and "argument 2" in words(jobs[1]), words(jobs[1])
        assert "cannot be made here" in words(jobs[2]), words(jobs[2])
        assert "its result, in it ['a'], in it [0], of type _thread.lock" in words(jobs[3]), words(jobs[3])
        assert "argument 2, of type _thread.lock" in words(late), words(late)
        print("right")
    """
    assert start(script(tmp_path / "s.py", top, inside)) == "right"
