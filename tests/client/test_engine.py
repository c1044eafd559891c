"""Jobs on this computer's own cores: every outcome, with real slot processes."""

import concurrent.futures
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import octapi
from octapi.errors import JobExited, JobNotSent, JobTimeout, OutputTooLarge, ResultNotPicklable
from tests.harness import until

COUNTER = [0]


@pytest.fixture(scope="module")
def cluster() -> Iterator[octapi.Cluster]:
    with octapi.Cluster("local", slots=2) as found:
        yield found


def square(number: int) -> int:
    return number * number


def test_a_job_returns_its_result(cluster: octapi.Cluster) -> None:
    """What the function returns is the future's result."""
    assert cluster.submit(square, 7).result(timeout=30) == 49


def test_a_lambda_and_a_closure_travel(cluster: octapi.Cluster) -> None:
    """Functions that no module holds are sent by value."""
    offset = 5

    assert cluster.submit(lambda number: number + offset, 1).result(timeout=30) == 6


def test_a_job_that_raises_fails_with_its_own_exception_and_traceback(cluster: octapi.Cluster) -> None:
    """The exception is the job's, and its cause is the remote traceback."""

    def divide(number: int) -> float:
        return number / 0

    error = cluster.submit(divide, 1).exception(timeout=30)

    assert isinstance(error, ZeroDivisionError)
    assert "in divide" in str(error.__cause__)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda: os._exit(3), "exit code 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
        (lambda: ctypes.string_at(0), "SIGSEGV"),
    ],
    ids=["exits", "is killed", "segfaults"],
)
def test_a_job_whose_process_dies_fails_alone_and_says_why(cluster: octapi.Cluster, end: object, expected: str) -> None:
    """The error names the cause; the jobs around it succeed."""
    before = [cluster.submit(square, number) for number in range(20)]
    fatal = cluster.submit(end)  # type: ignore[arg-type]
    after = [cluster.submit(square, number) for number in range(20)]

    error = fatal.exception(timeout=30)

    assert isinstance(error, octapi.JobCrashed)
    assert expected in str(error)
    assert [job.result(timeout=30) for job in before + after] == [number**2 for number in range(20)] * 2


def test_the_others_of_a_batch_keep_their_results_when_one_kills_the_slot(cluster: octapi.Cluster) -> None:
    """Each of 3,000 jobs ends by itself, although they travelled together."""

    def perhaps(number: int) -> int:
        if number == 2_000:
            os._exit(9)
        return number

    jobs = [cluster.submit(perhaps, number) for number in range(3_000)]
    failed = [number for number, job in enumerate(jobs) if job.exception(timeout=60) is not None]

    assert failed == [2_000]


def test_the_last_lines_of_stderr_are_in_the_error(cluster: octapi.Cluster) -> None:
    """What the process wrote before it died helps to find out why."""

    def doomed() -> None:
        sys.stderr.write("out of cheese\n")
        os._exit(1)

    assert "out of cheese" in str(cluster.submit(doomed).exception(timeout=30))


def test_sys_exit_is_an_error_of_the_job_not_the_end_of_the_script(cluster: octapi.Cluster) -> None:
    """SystemExit does not reach the client."""
    assert isinstance(cluster.submit(sys.exit, 3).exception(timeout=30), JobExited)


def test_a_time_limit_stops_the_job(cluster: octapi.Cluster) -> None:
    """A job that overruns its limit is stopped and says so."""
    error = cluster.options(timeout_s=0.3).submit(time.sleep, 60).exception(timeout=30)

    assert isinstance(error, JobTimeout)
    assert isinstance(error, TimeoutError)


def test_cancel_stops_a_running_job(cluster: octapi.Cluster) -> None:
    """The slot is free again for the next job."""
    jobs = [cluster.submit(time.sleep, 600) for _ in range(2)]
    until(lambda: [job.running() for job in jobs] == [True, True])

    assert [job.cancel() for job in jobs] == [True, True]
    assert [job.cancelled() for job in jobs] == [True, True]
    assert cluster.submit(square, 3).result(timeout=30) == 9


def test_what_cannot_be_pickled_fails_by_itself(cluster: octapi.Cluster) -> None:
    """Arguments, results: each has its own error."""
    assert isinstance(cluster.submit(square, (n for n in "x")).exception(timeout=30), JobNotSent)
    assert isinstance(cluster.submit(lambda: (n for n in "x")).exception(timeout=30), ResultNotPicklable)


def test_output_comes_home_with_its_job_and_is_bounded(cluster: octapi.Cluster) -> None:
    """print() fills stdout; a flood fails the job."""
    job = cluster.submit(print, "hello")
    job.result(timeout=30)

    assert job.stdout == "hello\n"
    assert isinstance(cluster.submit(lambda: print("x" * 100_000_000)).exception(timeout=60), OutputTooLarge)


def test_endless_recursion_fails_the_job(cluster: octapi.Cluster) -> None:
    """The interpreter's own limit ends it."""

    def recurse(number: int) -> int:
        return recurse(number + 1)

    assert isinstance(cluster.submit(recurse, 0).exception(timeout=30), RecursionError)


def test_each_job_sees_fresh_globals(cluster: octapi.Cluster) -> None:
    """A global that one job assigns is not there for the next."""
    names: dict[str, object] = {}
    exec("seen = 0\ndef count():\n    global seen\n    seen += 1\n    return seen", names)

    assert list(cluster.map(lambda f: f(), [names["count"]] * 3)) == [1, 1, 1]
    assert [cluster.submit(names["count"]).result(timeout=30) for _ in range(3)] == [1, 1, 1]  # type: ignore[arg-type]


def test_map_keeps_the_order_and_takes_a_generator(cluster: octapi.Cluster) -> None:
    """Results come in the order of the items."""
    assert list(cluster.map(square, (n for n in range(5_000)))) == [n * n for n in range(5_000)]


def test_map_pauses_at_the_buffer_size(cluster: octapi.Cluster) -> None:
    """An endless generator is not read further than the results that wait."""
    taken = []

    def endless() -> Iterator[int]:
        number = 0
        while True:
            taken.append(number)
            yield number
            number += 1

    results = cluster.map(square, endless(), buffersize=100)

    assert [next(results) for _ in range(50)] == [n * n for n in range(50)]
    assert len(taken) <= 250
    results.close()  # type: ignore[attr-defined]


def test_map_as_completed_returns_every_result(cluster: octapi.Cluster) -> None:
    """With ordered=False nothing is lost."""
    assert sorted(cluster.map(square, range(100), ordered=False)) == [n * n for n in range(100)]


def test_map_times_out_as_the_standard_library_does(cluster: octapi.Cluster) -> None:
    """The timeout counts from the call."""
    results = cluster.map(time.sleep, [60], timeout=0.2)
    with pytest.raises(TimeoutError):
        next(results)
    results.close()  # type: ignore[attr-defined]


def test_wait_and_as_completed_work_on_jobs(cluster: octapi.Cluster) -> None:
    """Jobs are real futures."""
    jobs = [cluster.submit(square, number) for number in range(10)]

    assert concurrent.futures.wait(jobs, timeout=30).not_done == set()
    assert {job.result() for job in concurrent.futures.as_completed(jobs)} == {n * n for n in range(10)}


def test_shutdown_completes_a_map_that_nobody_reads() -> None:
    """shutdown(wait=True) runs the finite iterables to their end."""
    cluster = octapi.Cluster("local", slots=2)
    taken = []
    cluster.map(square, (taken.append(n) or n for n in range(3_000)), buffersize=100)
    cluster.shutdown()

    assert len(taken) == 3_000


def test_a_cluster_leaves_no_process_behind() -> None:
    """All slots are gone after shutdown."""
    before = set(psutil.Process().children(recursive=True))
    with octapi.Cluster("local", slots=2) as cluster:
        cluster.submit(square, 2).result(timeout=30)
        assert set(psutil.Process().children(recursive=True)) - before
    _, alive = psutil.wait_procs(set(psutil.Process().children(recursive=True)) - before, timeout=10)

    assert alive == []


def test_a_closed_cluster_refuses_jobs() -> None:
    """Submitting after shutdown raises RuntimeError, as executors do."""
    cluster = octapi.Cluster("local", slots=1)
    cluster.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        cluster.submit(square, 1)


def test_two_scripts_with_a_module_of_the_same_name_each_get_their_own(tmp_path: Path) -> None:
    """A shared slot keeps the modules of computations apart."""
    script = (
        "import sys, helpers, octapi\n"
        "if __name__ == '__main__':\n"
        "    with octapi.Cluster(sys.argv[1]) as cluster:\n"
        "        print([cluster.submit(helpers.answer).result(timeout=60) for _ in range(3)])\n"
    )
    from octapi.testing import EmbeddedCluster

    with EmbeddedCluster(workers=1, slots=1) as embedded:
        answers = []
        for name, value in (("one", 1), ("two", 2)):
            place = tmp_path / name
            place.mkdir()
            (place / "helpers.py").write_text(f"def answer():\n    return {value}\n")
            (place / "main.py").write_text(script)
            command = [sys.executable, str(place / "main.py"), embedded.address]
            answers.append(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

        assert answers == ["[1, 1, 1]\n", "[2, 2, 2]\n"]
