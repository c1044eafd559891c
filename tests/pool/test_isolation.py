"""What a job leaves behind reaches no other: in every way in which jobs run, and in both interfaces."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import octapi
from octapi.testing import EmbeddedCluster
from tests.harness import clean_environment, until

SEEN: list[int] = []


@pytest.fixture(scope="module")
def cluster() -> Iterator[octapi.Cluster]:
    with octapi.Cluster("local", slots=1) as found:
        yield found


def directory(is_first: bool) -> Any:
    import os
    import tempfile

    before = os.path.basename(os.getcwd())  # noqa: PTH119 (what scripts write)
    with tempfile.TemporaryDirectory() as gone:
        os.chdir(gone)
    return before


def environment(is_first: bool) -> Any:
    import os

    before = os.environ.get("LEFT")
    os.environ["LEFT"] = "by a job"
    return before


def places_to_import_from(is_first: bool) -> Any:
    import sys

    before = "/left" in sys.path
    sys.path.insert(0, "/left")
    return before


def signal_handlers(is_first: bool) -> Any:
    import signal

    before = signal.getsignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    return before is signal.SIG_DFL


def alarms(is_first: bool) -> Any:
    import signal

    return signal.alarm(1000)


def umask(is_first: bool) -> Any:
    import os

    return os.umask(0o777) == 0o777


def locale_settings(is_first: bool) -> Any:
    import locale

    before = locale.setlocale(locale.LC_NUMERIC)
    locale.setlocale(locale.LC_NUMERIC, "C.UTF-8")
    return before == "C.UTF-8"


def module_attributes(is_first: bool) -> Any:
    import json

    before = getattr(json, "mark", None)
    json.mark = "left"  # type: ignore[attr-defined]
    return before


def replaced_functions(is_first: bool) -> Any:
    import time

    before = time.time is len
    time.time = len  # type: ignore[assignment]
    return before


def open_files(is_first: bool) -> Any:
    import os

    lowest = os.dup(0)
    os.dup(0)
    return lowest


def threads(is_first: bool) -> Any:
    import threading

    before = threading.active_count()
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return before


def temporary_files(is_first: bool) -> Any:
    import pathlib
    import tempfile

    before = list(pathlib.Path(tempfile.gettempdir()).glob("left*"))
    pathlib.Path(tempfile.mkstemp(prefix="left")[1]).write_text("by a job")
    return len(before)


def files_in_the_working_directory(is_first: bool) -> Any:
    import pathlib

    before = pathlib.Path("left.txt").exists()
    pathlib.Path("left.txt").write_text("by a job")
    return before


def output_streams(is_first: bool) -> Any:
    import io
    import sys

    before = isinstance(sys.stdout, io.StringIO)
    sys.stdout = io.StringIO()
    return before


def globals_of_the_script(is_first: bool) -> Any:
    SEEN.append(1)
    return len(SEEN)


def defaults(is_first: bool, seen: list[int] = []) -> Any:  # noqa: B006 (what scripts write)
    seen.append(1)
    return len(seen)


def attributes_of_the_function(is_first: bool) -> Any:
    attributes_of_the_function.calls = getattr(attributes_of_the_function, "calls", 0) + 1  # type: ignore[attr-defined]
    return attributes_of_the_function.calls  # type: ignore[attr-defined]


def recursion_limit(is_first: bool) -> Any:
    import sys

    before = sys.getrecursionlimit() == 4321
    sys.setrecursionlimit(4321)
    return before


def decimal_precision(is_first: bool) -> Any:
    import decimal

    before = decimal.getcontext().prec
    decimal.getcontext().prec = 5
    return before


LEAVE = [
    alarms, attributes_of_the_function, decimal_precision, defaults, directory, environment,
    files_in_the_working_directory, globals_of_the_script, locale_settings, module_attributes, open_files,
    output_streams, places_to_import_from, recursion_limit, replaced_functions, signal_handlers, temporary_files,
    threads, umask,
]  # fmt: skip


@pytest.mark.parametrize("leave", LEAVE)
def test_what_a_job_leaves_is_not_seen_by_the_next(cluster: octapi.Cluster, leave: Callable[[bool], Any]) -> None:
    """One slot runs all of them: first alone, then in a batch, then as a map; each finds what the first has found."""
    first = cluster.submit(leave, True).result(60)
    batch = [job.result(60) for job in [cluster.submit(leave, False) for _ in range(5)]]
    mapped = list(cluster.map(leave, [False] * 5))

    assert batch == mapped == [first] * 5


DISPY = """
import dispy
def compute(n):
    import json, os, signal, tempfile
    seen = os.environ.get("LEFT"), getattr(json, "mark", None), os.path.exists("beside.txt"), signal.alarm(100)
    os.environ["LEFT"], json.mark = "x", n
    os.chdir(tempfile.gettempdir())
    return seen, GLOBAL.append(n) or len(GLOBAL)
def setup():
    global GLOBAL
    GLOBAL = []
    return 0
for more in ({}, {"setup": setup}):
    text = "GLOBAL = []" if not more else ""
    open("beside.txt", "w").write("x")
    cluster = dispy.JobCluster(compute if more else eval("alone"), depends=["beside.txt"], **more)
    print({job() for job in [cluster.submit(n) for n in range(8)]})
    cluster.close()
"""
ALONE = """
def alone(n):
    import json, os, signal, tempfile
    seen = os.environ.get("LEFT"), getattr(json, "mark", None), os.path.exists("beside.txt"), signal.alarm(100)
    os.environ["LEFT"], json.mark = "x", n
    os.chdir(tempfile.gettempdir())
    return seen, 1
"""


def test_each_dispy_job_is_a_process_of_its_own_also_after_a_setup(tmp_path: Path) -> None:
    """An unchanged script sees nothing of an earlier job, and what setup made as setup left it."""
    (tmp_path / "script.py").write_text(ALONE + DISPY)
    env = clean_environment() | {"OCTAPI_ADDRESS": "local", "OCTAPI_SLOTS": "1", "OCTAPI_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stdout.splitlines() == ["{((None, None, True, 0), 1)}"] * 2, done.stderr


def slot_of_this_job() -> int:
    import os

    os.environ["LEFT"] = "x"  # so that it has a process of its own, whose parent is the slot
    return os.getppid()


def test_a_slot_never_works_for_two_scripts() -> None:
    """Two clients of one worker have slots of their own, one after the other and at the same time."""
    with EmbeddedCluster(workers=1, slots=2) as embedded:
        with octapi.Cluster(embedded.address) as first:
            slots = {first.submit(slot_of_this_job).result(60) for _ in range(5)}
            with octapi.Cluster(embedded.address) as second:
                others = {second.submit(slot_of_this_job).result(60) for _ in range(5)}
        with octapi.Cluster(embedded.address) as third:
            later = {third.submit(slot_of_this_job).result(60) for _ in range(5)}

    assert not slots & others
    assert not (slots | others) & later


COUNTS = """
import octapi
TOTAL = 100
def count(n):
    global TOTAL
    TOTAL = TOTAL + n
    return TOTAL
with octapi.Cluster("local", slots=1) as cluster:
    print(list(cluster.map(count, range(1000))) == [100 + n for n in range(1000)])
"""


def test_harmless_jobs_see_fresh_globals_too(tmp_path: Path) -> None:
    """Quick jobs of plain code need no process each; what they set is gone all the same."""
    (tmp_path / "script.py").write_text(COUNTS)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stdout == "True\n", done.stderr


def start_and_leave(marker: str) -> int:
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", marker], start_new_session=True)
    return child.pid


def forked_twice(marker: str) -> int:
    """Leave a process that has given up its parent, its session and its group, as daemons do."""
    import os
    import time

    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        os.write(write, str(child).encode())
        os._exit(0)
    return int(os.read(read, 20))


@pytest.mark.parametrize("leave", [start_and_leave, forked_twice])
def test_processes_that_a_job_leaves_are_ended_with_it(cluster: octapi.Cluster, leave: Callable[[str], int]) -> None:
    """Also those that have moved out of its session; its stderr says so."""
    job = cluster.submit(leave, "octapi-test")

    pid = job.result(60)
    until(lambda: not psutil.pid_exists(pid))
    assert "left running were ended" in job.stderr


def leave_and_wait(path: str) -> None:
    import pathlib
    import time

    pathlib.Path(path).write_text(str(forked_twice("")))
    time.sleep(600)


def test_processes_of_a_job_that_is_stopped_are_ended_too(cluster: octapi.Cluster, tmp_path: Path) -> None:
    """Its slot is killed, and what it had started, wherever it went, ends with it."""
    path = tmp_path / "pid"
    job = cluster.submit(leave_and_wait, str(path))
    pid = until(lambda: path.exists() and int(path.read_text() or 0))

    job.cancel()
    until(lambda: not psutil.pid_exists(pid))


def returns_twice() -> str:
    import os

    os.fork()
    return f"from {os.getpid()}"


def test_a_fork_that_returns_twice_gives_one_result(cluster: octapi.Cluster) -> None:
    """The copy of the job's process that comes back has nothing to say."""
    results = [cluster.submit(returns_twice).result(60) for _ in range(3)]

    assert len(set(results)) == 3


def prints_later() -> None:
    import threading
    import time

    def later() -> None:
        while True:
            time.sleep(0.001)
            print("left")

    threading.Thread(target=later, daemon=True).start()


def test_a_thread_that_goes_on_prints_into_no_other_job(cluster: octapi.Cluster) -> None:
    """It ends with its job."""

    def printing(n: int) -> int:
        import time

        time.sleep(0.02)
        print("mine", n)
        return n

    cluster.submit(prints_later).result(60)
    jobs = [cluster.submit(printing, n) for n in range(5)]

    assert [(job.result(60), job.stdout) for job in jobs] == [(n, f"mine {n}\n") for n in range(5)]


def writes_everywhere() -> str:
    import ctypes
    import os
    import subprocess
    import sys

    print("from print")
    sys.stdout.flush()
    os.system("echo from system")
    subprocess.run(["echo", "from subprocess"], check=True)
    os.write(1, b"from write \xff\n")
    sys.stdout.buffer.write(b"from buffer\n")
    sys.stdout.flush()
    ctypes.CDLL(None).puts(b"from c")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    print("surrogate \udc80")
    os.write(2, b"to stderr\n")
    return f"{sys.stdout.name} {sys.stdout.fileno()}"


def test_output_is_what_arrives_at_the_descriptors(cluster: octapi.Cluster) -> None:
    """Prints, children, C code, bytes that are no text, and surrogates."""
    job = cluster.submit(writes_everywhere)

    assert job.result(60) == "<stdout> 1"
    assert sorted(job.stdout.splitlines()) == sorted(
        "from print|from system|from subprocess|from write \\xff|from buffer|from c|surrogate \\udc80".split("|")
    )
    assert job.stderr == "to stderr\n"


def speaks_and_dies(words: str) -> None:
    import os
    import sys

    print(words, file=sys.stderr)
    if words == "dies":
        os.abort()


def test_the_last_words_in_an_error_are_the_jobs_own(cluster: octapi.Cluster) -> None:
    """What an earlier job wrote to stderr stands in no other's error."""
    assert cluster.submit(speaks_and_dies, "a secret").result(60) is None
    error = cluster.options(retries=0).submit(speaks_and_dies, "dies").exception(60)

    assert "dies" in str(error)
    assert "secret" not in str(error)


async def twice(n: int) -> int:
    import asyncio

    await asyncio.sleep(0.001)
    return 2 * n


def test_a_coroutine_function_is_awaited(cluster: octapi.Cluster) -> None:
    """In the job's process, by submit and by map."""
    assert cluster.submit(twice, 4).result(60) == 8
    assert list(cluster.map(twice, range(3))) == [0, 2, 4]


def test_a_lock_that_another_thread_holds_does_not_stop_the_fork() -> None:
    """Slots have no threads, so a job's process never waits for a lock that nobody holds."""
    lock = threading.Lock()
    with lock, octapi.Cluster("local", slots=1) as cluster:
        assert cluster.submit(slot_of_this_job).result(60)


LOGS = """
import logging, octapi
logging.basicConfig(level=logging.INFO, format="%(levelname)s of %(name)s: %(message)s")
def work(n):
    logging.getLogger("mine").info("item %d", n)
    logging.getLogger("mine").debug("hidden")
with octapi.Cluster("local", slots=1) as cluster:
    job = cluster.submit(work, 7)
    job.result()
    print(repr(job.stderr))
"""


def test_jobs_log_as_the_script_does(tmp_path: Path) -> None:
    """With the level and the layout of the script's root logger, into the job's stderr."""
    (tmp_path / "script.py").write_text(LOGS)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stdout == repr("INFO of mine: item 7\n") + "\n", done.stderr


def takes_a_descriptor() -> str:
    """Try what would make a job the slot's agent: take the slot's socket, as one account's processes otherwise may."""
    import ctypes
    import os

    slot = os.pidfd_open(os.getppid())
    for number in range(40):
        if ctypes.CDLL(None, use_errno=True).syscall(438, slot, number, 0) >= 0:  # pidfd_getfd(2)
            return f"took {number}"
    return "took nothing"


def test_a_job_cannot_take_the_descriptors_of_its_slot(cluster: octapi.Cluster) -> None:
    """Slots, and the process that forks them, are closed to processes of the same account; jobs are open to theirs."""
    if psutil.Process().uids().real == 0:
        pytest.skip("root may look into every process; jobs of an installed worker never run as root")
    assert cluster.submit(takes_a_descriptor).result(60) == "took nothing"


def open_descriptors(_: int) -> list[str]:
    import os
    import pathlib

    kinds = []
    for number in range(256):
        try:
            os.fstat(number)
        except OSError:
            continue
        kinds.append(str(pathlib.Path(f"/proc/self/fd/{number}").readlink()).partition(":")[0])
    return kinds


def test_a_job_has_no_descriptors_but_its_own(cluster: octapi.Cluster) -> None:
    """Neither its slot's connection to the agent nor the memory that both share: who has them speaks as the slot.

    What it has is a way for its outcome, and memory for a large one, which no other job gets.
    """
    assert set(cluster.submit(open_descriptors, 0).result(60)) <= {"/dev/null", "pipe", "/memfd"}


def spoils_shared_memory(size: int) -> bytes:
    """Write into, shorten and seal the memory for outcomes, and return a large one."""
    import fcntl
    import os
    import pathlib

    for number in range(3, 256):
        try:
            name = str(pathlib.Path(f"/proc/self/fd/{number}").readlink())
        except OSError:
            continue
        if name.startswith("/memfd:octapi-outcome"):
            os.write(number, b"junk" * 1000)
            fcntl.fcntl(number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
    return b"y" * size


def large(size: int) -> bytes:
    import os

    return os.urandom(1) and b"x" * size


def test_a_job_that_spoils_the_memory_for_outcomes_spoils_its_own(cluster: octapi.Cluster) -> None:
    """Its own large outcome takes another way; those before and after are whole."""
    assert cluster.submit(spoils_shared_memory, 10).result(60) == b"y" * 10
    assert cluster.submit(large, 3_000_000).result(60) == b"x" * 3_000_000
    assert cluster.submit(spoils_shared_memory, 3_000_000).result(60) == b"y" * 3_000_000
    assert cluster.submit(large, 3_000_000).result(60) == b"x" * 3_000_000


def begins_a_frame(_: int) -> str:
    import os

    for number in range(3, 64):
        try:
            os.write(number, b"\xff" * 100)
        except OSError:
            continue
    return "written"


def test_a_job_that_writes_to_descriptors_that_it_did_not_open_fails_alone(cluster: octapi.Cluster) -> None:
    """What it says there is no outcome; the next job has its own."""
    job = cluster.submit(begins_a_frame, 0)

    assert isinstance(job.exception(60), octapi.JobCrashed)
    assert cluster.submit(abs, -3).result(60) == 3
