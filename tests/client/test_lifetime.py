"""Clusters begin and end as the standard library's executors do, whatever the script forgets."""

import concurrent.futures
import gc
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import octapi
from octapi.errors import ClusterForked
from tests.harness import clean_environment, until

LOCAL = "import octapi, sys, time, os\nc = octapi.Cluster('local', slots=2)\n"


def run(place: Path, text: str, **options: object) -> subprocess.Popen[str]:
    """Start a script."""
    script = place / "script.py"
    script.write_text(LOCAL + text, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=place,
        env=clean_environment() | {"OCTAPI_HOME": str(place / "home")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def ended(place: Path, text: str) -> tuple[int, str, str]:
    """Run a script to its end; return its exit code and what it said."""
    process = run(place, text)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


TOUCH = "def touch(n):\n    time.sleep(0.2)\n    open(os.path.join(r'{}', str(n)), 'w').close()\n    return n\n"


@pytest.mark.parametrize(
    "use",
    [
        "for n in range(6): c.submit(touch, n)",
        "it = c.map(touch, range(6))",
        "c.map(touch, range(6))",
        "for n in range(6): c.submit(touch, n)\ndel c",
        "for n in range(6): c.submit(touch, n)\nc.shutdown(wait=False)",
        "for n in range(6): c.submit(touch, n)\nsys.exit(3)",
        "c.submit(abs, 1).add_done_callback(lambda _: c.submit(touch, 5))\n[c.submit(touch, n) for n in range(5)]",
    ],
)
def test_a_script_that_ends_without_shutdown_has_its_jobs_done(use: str, tmp_path: Path) -> None:
    """Submitted and mapped, read and unread, with the Cluster kept or dropped; the exit code is the script's own."""
    done = tmp_path / "done"
    done.mkdir()
    code, _, err = ended(tmp_path, TOUCH.format(done) + use + "\n")
    assert sorted(path.name for path in done.iterdir()) == [str(n) for n in range(6)], err
    assert code == (3 if "exit" in use else 0)
    assert "Traceback" not in err


def test_a_map_over_a_counter_that_nobody_reads_holds_no_script(tmp_path: Path) -> None:
    """There is no last item, so what was taken is all; over a generator that may end the script waits, and says so."""
    code, out, err = ended(tmp_path, "import itertools\nc.map(abs, itertools.count())\nprint('over')\n")
    assert (code, out, err) == (0, "over\n", "")


def test_a_script_says_that_its_end_waits_for_a_generator(tmp_path: Path) -> None:
    """Whether that has an end cannot be known: Ctrl-C drops it, and no more is taken meanwhile than is done."""
    text = "def endless():\n    n = 0\n    while True:\n        yield n\n        n += 1\nc.map(abs, endless())\n"
    process = run(tmp_path, text)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    found = re.search(
        r"the end waits for map\(abs\): its iterable has given (\d+) items so far.*; (\d+) are done", said
    )
    assert found is not None, said
    assert int(found[1]) - int(found[2]) <= 100_000


def test_the_end_of_a_script_waits_for_callbacks(tmp_path: Path) -> None:
    """Also for one that is slow, without and with a with statement."""
    text = "def told(job):\n    time.sleep(0.3)\n    print('told', job.result(), flush=True)\n"
    code, out, _ = ended(tmp_path, text + "c.submit(abs, -4).add_done_callback(told)\n")
    assert (code, out) == (0, "told 4\n")
    code, out, _ = ended(tmp_path, text + "with c: c.submit(abs, -4).add_done_callback(told)\nprint('over')\n")
    assert (code, out) == (0, "told 4\nover\n")


@pytest.mark.parametrize("use", ["", "time.sleep(60)\n"])
def test_ctrl_c_ends_a_script_that_has_jobs_at_once_and_without_a_traceback_of_ours(use: str, tmp_path: Path) -> None:
    """While it waits at its end, and before; nothing of it stays behind."""
    flag = tmp_path / "flag"
    text = f"def slow(n):\n    open(r'{flag}', 'w').close()\n    time.sleep(300)\nc.submit(slow, 1)\n{use}"
    process = run(tmp_path, text)
    try:
        until(flag.exists)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0
    assert "octapi" not in err
    assert use or "Traceback" not in err
    until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))


def standing() -> tuple[int, int, int, int]:
    """Return how many threads, descriptors, children and directories of ours there are."""
    me = psutil.Process()
    places = len(list(Path(tempfile.gettempdir()).glob("octapi-*")))
    return threading.active_count(), me.num_fds(), len(me.children(recursive=True)), places


def test_many_clusters_one_after_the_other_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads, descriptors, processes and directories: closed, dropped, and dropped while jobs run."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = standing()
    for number in range(30):
        cluster = octapi.Cluster("local", slots=1)
        job = cluster.submit(abs, -number)
        if number % 3 == 0:
            cluster.shutdown()
        elif number % 3 == 1:
            assert job.result(60) == number
        del cluster
    gc.collect()
    until(lambda: all(now <= then for now, then in zip(standing(), before, strict=True)), 60)


def test_a_cluster_that_is_dropped_gives_what_it_owes(tmp_path: Path) -> None:
    """Jobs and iterators of a Cluster that nobody holds any more end as they should."""
    job = octapi.Cluster("local", slots=1).submit(abs, -3)
    results = octapi.Cluster("local", slots=1).map(abs, [-1, -2])
    gc.collect()
    assert job.result(60) == 3
    assert list(results) == [1, 2]


def test_it_may_be_shut_down_again_and_takes_no_jobs_afterwards() -> None:
    """Twice, without waiting, and from many threads at once; the error is the standard library's too."""
    cluster = octapi.Cluster("local", slots=1)
    job = cluster.submit(abs, -1)
    cluster.shutdown(wait=False)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(cluster.shutdown) for _ in range(4)]:
            future.result(60)
    assert job.result(60) == 1
    with pytest.raises(RuntimeError, match="shut down"):
        cluster.submit(abs, 1)
    with pytest.raises(octapi.errors.ClusterClosed):
        cluster.map(abs, [1])
    with pytest.raises(RuntimeError):
        cluster.options(retries=0).submit(abs, 1)


# ---- forked processes


@pytest.fixture
def cluster() -> Iterator[octapi.Cluster]:
    with octapi.Cluster("local", slots=1) as found:
        yield found


def in_child(function: object) -> str:
    """Run a function in a forked process, and return the names of what it returned or raised."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        try:
            text = str(function())  # type: ignore[operator]
        except BaseException as error:
            text = type(error).__name__
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        found = pipe.read()
    os.waitpid(pid, 0)
    return found


def test_a_forked_process_is_told_that_the_cluster_is_not_its_own(cluster: octapi.Cluster) -> None:
    """At once, for new jobs, for those on their way and for iterators; the parent goes on."""
    slow = cluster.submit(__import__("time").sleep, 2)
    results = cluster.map(abs, range(5))
    assert in_child(lambda: cluster.submit(abs, 1)) == ClusterForked.__name__
    assert in_child(lambda: cluster.map(abs, [1])) == ClusterForked.__name__
    assert in_child(lambda: cluster.options(retries=0).map(abs, [1])) == ClusterForked.__name__
    assert in_child(slow.result) == ClusterForked.__name__
    assert in_child(lambda: list(results)) == ClusterForked.__name__
    assert in_child(cluster.shutdown) == "None"
    assert in_child(lambda: cluster.workers()[0].slots) == "1"
    assert slow.result(60) is None
    assert list(results) == [0, 1, 2, 3, 4]


def test_a_forked_process_may_make_a_cluster_of_its_own(cluster: octapi.Cluster) -> None:
    """And ends without harm to the parent's."""

    def own() -> int:
        with octapi.Cluster("local", slots=1) as mine:
            return int(mine.submit(abs, -9).result(30))

    assert in_child(own) == "9"
    assert cluster.submit(abs, -1).result(60) == 1


def test_children_of_multiprocessing_and_plain_ends_leave_the_parents_slots_alone(tmp_path: Path) -> None:
    """A child that ends with sys.exit or from multiprocessing waits for nothing and stops nothing."""
    text = (
        "import multiprocessing as mp\n"
        "def f(n):\n    return n\n"
        "def child():\n"
        "    try:\n        c.submit(f, 1)\n"
        "    except RuntimeError as error:\n        print(type(error).__name__, flush=True)\n"
        "assert c.submit(f, 1).result() == 1\n"
        "p = mp.get_context('fork').Process(target=child)\np.start()\np.join(20)\nassert p.exitcode == 0, p.exitcode\n"
        "if os.fork() == 0:\n    sys.exit(0)\nos.wait()\n"
        "print(c.submit(f, 2).result(timeout=20))\n"
    )
    assert ended(tmp_path, text)[:2] == (0, "ClusterForked\n2\n")


# ---- poor environments


@pytest.mark.parametrize(
    "shell",
    [
        "{python} script.py >&-",
        "{python} script.py 2>&-",
        "{python} script.py <&- >&- 2>&-",
        "{python} script.py | head -c 0",
        "env -u HOME {python} script.py",
        "HOME=/nonexistent OCTAPI_HOME=/nonexistent/x {python} script.py",
        "OCTAPI_HOME=/proc/1/none {python} script.py",
        "mkdir -p t; TMPDIR=t {python} script.py",
        "TMPDIR=/nonexistent {python} script.py",
        "(trap '' CHLD; {python} script.py)",
        "ulimit -n 64; {python} script.py",
    ],
)
def test_a_poor_environment_is_enough(shell: str, tmp_path: Path) -> None:
    """Streams, homes, directories and descriptors may be missing."""
    text = "def f(n):\n    print('é')\n    return n\nassert c.submit(f, 5).result() == 5\n"
    text += "print(list(c.map(f, range(3))), flush=True)\nc.shutdown()\nopen('well', 'w').close()\n"
    (tmp_path / "script.py").write_text(LOCAL + text, encoding="utf-8")
    command = shell.format(python=sys.executable)
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=clean_environment(), capture_output=True, timeout=60, check=False
    )
    said = done.stderr.decode()
    assert (tmp_path / "well").exists() or "BrokenPipeError" in said, said
    assert "octapi" not in said


def test_a_script_whose_stderr_is_none_or_closed_works(tmp_path: Path) -> None:
    """As under pythonw, or when the script closes it; nothing of ours gets into its output instead."""
    for how in ("sys.stderr = None", "sys.stderr.close()"):
        text = f"{how}\nwith octapi.Cluster(slots=1) as d:\n    print(d.submit(abs, -2).result(timeout=30))\n"
        code, out, _ = ended(tmp_path, text)
        assert (code, out) == (0, "2\n")
