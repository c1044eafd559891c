"""The shapes in which scripts give their computation, and what tracebacks of its jobs show."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import Run

from octapi.pool.source_text import compiled, execute
from octapi.protocol import source_pieces
from octapi.protocol.source_pieces import Piece
from octapi.testing import EmbeddedCluster

SHAPES = '''
    import dispy, enum, functools, math
    from dataclasses import dataclass, field

    CONST = 7

    def decorate(fn):
        @functools.wraps(fn)
        def inner(*args):
            return fn(*args) + 100
        return inner

    def hide(fn):
        def inner(*args):
            return fn(*args) + CONST
        return inner

    @decorate
    def decorated(n):
        return n

    @hide
    def hidden(n):
        return n

    @functools.lru_cache(maxsize=None)
    def cached(n):
        return n + 1

    def defaults(n, m=math.floor(5.5), *, k=2):
        return n + m + k

    def annotated(n: "Later", m: CONST = 1) -> math:
        return n + m

    def rooted(n):
        return n if n else rooted(n)

    @dataclass
    class Point:
        x: int
        tags: list = field(default_factory=list)

    class Colour(enum.Enum):
        RED = 1

    class Base:
        k = 5
        @classmethod
        def made(cls, n):
            return cls.__name__, n
        @staticmethod
        def plain(n):
            return n
        def method(self, n):
            return self.k * n

    class Sub(Base):
        def method(self, n):
            return super().method(n) + 1

    def is_point(value):
        return isinstance(value, Point), value

    def outer(k):
        def nested(n):
            # a comment
            text = """
    at the margin
      and not
    """
            return n + len(text)
        def closed(n):
            return n * k
        @decorate
        def both(n):
            return n
        class Local:
            def go(self, n):
                return n + 1
        return nested, closed, both, Local

    def try_it(label, computation, *args, depends=(), **options):
        with dispy.JobCluster(computation, depends=list(depends), **options) as cluster:
            job = cluster.submit(*args)
            print(label, job(), (job.exception or '').strip().splitlines()[-1:])

    nested, closed, both, Local = outer(3)
    double = lambda n: 2 * n
    try_it('decorated', decorated, 1)
    try_it('depends', decorated, 1, depends=[decorate])
    try_it('hidden', hidden, 1)
    try_it('cached', cached, 1)
    try_it('defaults', defaults, 1)
    try_it('annotated', annotated, 1)
    try_it('recursive', rooted, 3)
    try_it('nested', nested, 1)
    try_it('closure', closed, 2)
    try_it('both', both, 1, depends=[decorate])
    try_it('lambda', lambda n: n + CONST, 1)
    try_it('named lambda', lambda n: double(n), 1)
    try_it('depends on lambda', rooted, 1, depends=[double])
    try_it('partial', functools.partial(defaults, k=10), 1)
    try_it('dataclass', is_point, Point(1), depends=[Point])
    try_it('enum', lambda c: c.name, Colour.RED, depends=[Colour])
    try_it('unbound', Base.method, Base(), 2)
    try_it('bound', Base().method, Base(), 2)
    try_it('class method', Sub.made, 2, depends=[Base])
    try_it('static', Base.plain, 2)
    try_it('super', Sub.method, Sub(), 2)
    try_it('local class', Local.go, Local(), 2)
    try_it('setup', lambda n: FOUND + n, 1, setup=lambda: globals().update(FOUND=closed(2)) or 0)
'''

RESULTS = """
decorated 101 []
depends 101 []
hidden 8 []
cached 2 []
defaults 8 []
annotated 2 []
recursive 3 []
nested 26 []
closure 6 []
both 101 []
lambda 8 []
named lambda 2 []
depends on lambda 1 []
partial 16 []
dataclass (True, Point(x=1, tags=[])) []
enum RED []
unbound 10 []
bound 10 []
class method ('Sub', 2) []
static 2 []
super 11 []
local class 3 []
setup 7 []
"""


def test_computations_of_every_shape_run(run: Run) -> None:
    """Where text is enough it is sent; closures, lambdas and what is decorated travel by value."""
    assert run(SHAPES).stdout == RESULTS.lstrip()


@pytest.mark.parametrize("thing", ["None", "int", "len", "3", "Thing()", "'/no/such/program'"])
def test_what_is_no_computation_is_refused_at_once(run: Run, thing: str) -> None:
    """The message names its type or its path."""
    done = run(
        f"""
        import dispy
        class Thing:
            def __call__(self): pass
        try:
            dispy.JobCluster({thing})
        except Exception as error:
            print(type(error).__name__, error)
        """
    )

    assert done.stdout.startswith("DispyError")
    assert "computation type" in done.stdout or "/no/such/program" in done.stdout


def test_generators_end_with_a_reason(run: Run) -> None:
    """Their result cannot travel, and the job says so."""
    done = run(
        """
        import dispy
        def compute(n):
            yield n
        job = dispy.JobCluster(compute).submit(1)
        print(job(), job.status, job.exception)
        """
    )

    assert done.stdout.startswith("None 9 ResultNotPicklable: ")
    assert "generator" in done.stdout


TYPED_IN = textwrap.dedent("""
    import octapi.dispy as dispy
    def compute(n):
        return n + 1, dispy_node_name[:6]

    cluster = dispy.JobCluster(compute)
    print(cluster.submit(1)())
    job = dispy.JobCluster(lambda n: 1 / n).submit(0)
    print(job(), job.exception.splitlines()[-1], job.exception.splitlines()[1])
""")


@pytest.mark.parametrize("how", [["-c", TYPED_IN], ["-"], ["-i", "-q"], ["-m", "IPython", "--simple-prompt"]])
def test_functions_that_are_typed_in_travel_too(embedded: EmbeddedCluster, tmp_path: Path, how: list[str]) -> None:
    """There is no file that holds their text."""
    env = dict(os.environ, OCTAPI_ADDRESS=embedded.address, IPYTHONDIR=str(tmp_path))
    typed = TYPED_IN
    if "IPython" in how:
        pytest.importorskip("IPython")
        typed = f"exec({TYPED_IN!r}, globals())\n"
    done = subprocess.run(
        [sys.executable, *how],
        input=typed,
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )

    assert "(2, 'worker')" in done.stdout, done.stdout + done.stderr
    assert 'None ZeroDivisionError: division by zero   File "<' in done.stdout, done.stdout + done.stderr


def test_an_unusual_encoding_is_read_as_the_script_says(embedded: EmbeddedCluster, tmp_path: Path) -> None:
    """Latin-1, with CRLF at the ends of lines and tabs for the margin."""
    text = """# -*- coding: latin-1 -*-
import dispy
class Holder:
\t@staticmethod
\tdef compute(n):
\t\treturn 'gr\u00fc\u00dfe' * n
def compute(n):
\treturn 'gr\u00fc\u00dfe' * n
print(ascii(dispy.JobCluster(compute).submit(2)()), ascii(dispy.JobCluster(Holder.compute).submit(1)()))
"""
    path = tmp_path / "script.py"
    path.write_bytes(text.replace("\n", "\r\n").encode("latin-1"))
    env = dict(os.environ, OCTAPI_ADDRESS=embedded.address)
    done = subprocess.run([sys.executable, str(path)], env=env, capture_output=True, text=True, check=False, timeout=90)

    assert done.stdout == "'gr\\xfc\\xdfegr\\xfc\\xdfe' 'gr\\xfc\\xdfe'\n", done.stderr


def test_tracebacks_show_the_scripts_file_lines_and_text(run: Run, tmp_path: Path) -> None:
    """In functions, what they call of depends, methods, nested functions, and code that one job brings."""
    done = run(
        """
        import dispy

        def helper(n):
            return 1 / n

        class Holder:
            def method(self, n):
                return helper(n)

        def compute(n):
            return helper(n)

        def outer():
            def nested(n):
                # comment
                return globals()['late'](n)
            return nested

        def late(n):
            raise ValueError(
                'of two lines')

        def tell(job):
            job()
            print(job.exception)

        tell(dispy.JobCluster(compute, depends=[helper]).submit(0))
        tell(dispy.JobCluster(Holder.method, depends=[Holder, helper]).submit(None, 0))
        tell(dispy.JobCluster(outer()).submit(0, dispy_job_depends=[late]))
        """
    )

    script = tmp_path / "script.py"
    texts = done.stdout.split("\n\n")
    assert f'File "{script}", line 12, in compute\n    return helper(n)\n' in texts[0]
    assert f'File "{script}", line 5, in helper\n    return 1 / n\n' in texts[0]
    assert f'File "{script}", line 9, in method\n    return helper(n)\n' in texts[1]
    assert f'File "{script}", line 17, in nested\n    return globals()[' in texts[2]
    assert f'File "{script}", line 21, in late\n    raise ValueError(\n' in texts[2]
    assert "slot.py" not in done.stdout


def test_tracebacks_after_setup_show_the_scripts_lines_too(run: Run, tmp_path: Path) -> None:
    """Setup's own, and those of jobs of a computation with setup."""
    done = run(
        """
        import dispy
        def setup():
            global LEAST
            LEAST = 0
            return 0
        def broken():
            return undefined
        def compute(n):
            return n / LEAST
        for which in (setup, broken):
            job = dispy.JobCluster(compute, setup=which).submit(1)
            job()
            print(job.exception)
        """
    )

    script = tmp_path / "script.py"
    assert f'File "{script}", line 10, in compute\n    return n / LEAST\n' in done.stdout
    assert f'File "{script}", line 8, in broken\n    return undefined\n' in done.stdout


def test_what_only_the_script_has_is_named_with_what_to_do(run: Run, tmp_path: Path) -> None:
    """A class of a module beside the script that depends does not name."""
    (tmp_path / "beside.py").write_text("class Thing:\n    pass\n")
    done = run(
        """
        import beside, dispy
        def compute(thing):
            return thing
        job = dispy.JobCluster(compute).submit(beside.Thing())
        job()
        print(job.exception)
        job = dispy.JobCluster(compute, depends=[beside]).submit(beside.Thing())
        print(job(), job.exception)
        """
    )

    assert "Module beside is the script's: nodes have it if depends=[...] names it" in done.stdout
    assert done.stdout.endswith("> None\n")


def test_a_package_in_depends_brings_what_was_imported_of_it(run: Run, tmp_path: Path) -> None:
    """Its modules and inner packages; modules of the standard library stay where they are."""
    inner = tmp_path / "pack" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("from .core import Deep\n")
    (tmp_path / "pack" / "core.py").write_text("from .inner import deep\nclass Deep:\n    n = deep.N\n")
    (inner / "deep.py").write_text("N = 42\n")  # a namespace package
    done = run(
        """
        import dispy, json, pack
        def compute(thing):
            return thing.n, sorted(os.listdir())
        job = dispy.JobCluster(compute, depends=[pack, json]).submit(pack.Deep())
        print(job(), job.exception)
        """
    )

    assert done.stdout == "(42, ['pack']) None\n"


def test_a_job_made_by_hand_is_as_dispys(run: Run) -> None:
    """Scripts with a serial mode fill jobs themselves."""
    done = run(
        """
        import dispy
        job = dispy.DispyJob(None, (1,), ())
        job.result, job.status = 5, dispy.DispyJob.Finished
        print(job.result, job.status, job.exception, job.id > 0, dispy.DispyJob('name', (), {}).id)
        """
    )

    assert done.stdout == "5 11 None True name\n"


@pytest.mark.parametrize(
    "piece",
    [
        Piece("script.py", 7, "def f(n):\n    return 1 / n\n"),
        Piece(
            "a b.py", 30, '    def f(n):\n        text = """\nmargin\n# octapi piece [1]\n"""\n        return 1 / n\n'
        ),
        Piece("tab.py", 2, "\tdef f(n):\n\t\treturn 1 / n"),
        Piece("\u00fc\u0142.py", 1, "def f(n): return 1 / n\n", 0x1000000),
    ],
)
def test_pieces_are_read_as_they_were_written(piece: Piece) -> None:
    """Whatever they hold, and several in a row; and their lines are those of their files."""
    whole = piece._replace(text=piece.text if piece.text.endswith("\n") else piece.text + "\n")
    text = source_pieces.write([piece, Piece("<octapi>", 1, "x = 1\n"), piece])
    names: dict[str, object] = {}
    execute(compiled(text), names)

    assert source_pieces.read(text) == [whole, Piece("<octapi>", 1, "x = 1\n"), whole]
    function = names["f"]
    assert function.__code__.co_filename == piece.file  # type: ignore[attr-defined]
    assert function.__code__.co_firstlineno == piece.first  # type: ignore[attr-defined]
    compile(text, "<one>", "exec")


def test_text_without_marks_is_one_piece() -> None:
    """What scripts of earlier releases send."""
    assert source_pieces.read("def f(): pass\n") == [Piece("<string>", 1, "def f(): pass\n")]
