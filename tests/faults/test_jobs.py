"""Jobs that kill their process or take all memory: tried again within bounds, and reported with what happened."""

from pathlib import Path

import psutil
import pytest

import octapi
from octapi.errors import JobCrashed
from octapi.testing import EmbeddedCluster


def poison(path: str, how: str = "SIGKILL") -> None:
    """Write down that it runs, and die: as if killed from outside, or by itself."""
    import os
    import signal

    with Path(path).open("a") as file:
        file.write("x")
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.Signals[how])


@pytest.mark.parametrize("how", ["SIGSEGV", "SIGABRT", "exit"])
def test_a_job_that_ends_its_process_by_itself_is_started_once(tmp_path: Path, how: str) -> None:
    """It would do so on every worker; the error has the one start."""
    with EmbeddedCluster(workers=2) as embedded, octapi.Cluster(embedded.address) as cluster:
        error = cluster.submit(poison, str(tmp_path / "a"), how).exception()

        assert isinstance(error, JobCrashed)
        assert (tmp_path / "a").read_text() == "x"
        assert len(error.attempts) == 1


def greedy(path: str, megabytes: int) -> int:
    """Write down that it runs, and take memory."""
    with Path(path).open("a") as file:
        file.write("x")
    return len(bytearray(megabytes << 20))


def test_a_job_that_is_killed_is_tried_on_two_workers_and_fails_with_its_history(tmp_path: Path) -> None:
    """Not on the third; with retries=0 only once; in a map, the other items have their results."""
    with EmbeddedCluster(workers=3) as embedded, octapi.Cluster(embedded.address) as cluster:
        error = cluster.submit(poison, str(tmp_path / "a")).exception()
        assert isinstance(error, JobCrashed)
        assert (tmp_path / "a").read_text() == "xx"
        assert len({attempt.worker for attempt in error.attempts}) == 2
        assert all("SIGKILL" in attempt.cause for attempt in error.attempts)
        assert "It was started 2 times:" in str(error)
        assert str(error).count("killed by SIGKILL") == 3

        once = cluster.options(retries=0).submit(poison, str(tmp_path / "b")).exception()
        assert isinstance(once, JobCrashed)
        assert (tmp_path / "b").read_text() == "x"
        assert len(once.attempts) == 1


def test_a_whole_batch_of_poison_does_not_stop_the_cluster(tmp_path: Path) -> None:
    """Good jobs between them get their results, and no worker leaves."""
    with EmbeddedCluster(workers=2) as embedded, octapi.Cluster(embedded.address) as cluster:
        jobs = [cluster.submit(poison if n % 2 else str.upper, str(tmp_path / "c")) for n in range(40)]
        good = [job.result() for n, job in enumerate(jobs) if not n % 2]
        bad = [job.exception() for n, job in enumerate(jobs) if n % 2]

        assert good == [str(tmp_path / "c").upper()] * 20
        assert [type(error) for error in bad] == [JobCrashed] * 20
        assert len((tmp_path / "c").read_text()) == 40
        assert [worker.state for worker in cluster.engine.workers()] == ["ok", "ok"]


def test_a_slot_that_takes_more_than_its_limit_is_out_of_memory_and_tried_once_more_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so with the peak, and names the setting."""
    monkeypatch.setenv("OCTAPI_SLOT_MEMORY_MB", "150")
    with EmbeddedCluster(workers=2) as embedded, octapi.Cluster(embedded.address) as cluster:
        error = cluster.submit(hoard, str(tmp_path / "a"), 600).exception()
        assert isinstance(error, JobCrashed)
        assert error.is_out_of_memory
        assert error.memory > 150 << 20
        assert "out of memory" in str(error)
        assert "slot_memory_mb" in str(error)
        assert (tmp_path / "a").read_text() == "xx"

        assert cluster.options(retries=0).submit(hoard, str(tmp_path / "b"), 600).exception() is not None
        assert (tmp_path / "b").read_text() == "x"
        assert cluster.submit(greedy, str(tmp_path / "c"), 10).result() == 10 << 20


def hoard(path: str, megabytes: int) -> int:
    """Take memory bit by bit, and hold it."""
    import time

    with Path(path).open("a") as file:
        file.write("x")
    held = []
    for _ in range(megabytes // 10):
        held.append(b"x" * (10 << 20))
        time.sleep(0.05)
    time.sleep(60)
    return len(held)


def test_the_youngest_greedy_job_goes_when_the_device_runs_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard acts before the kernel does, and the worker stays."""
    free_mb = psutil.virtual_memory().available >> 20
    monkeypatch.setenv("OCTAPI_MEMORY_FLOOR_MB", str(free_mb - 700))
    with EmbeddedCluster(workers=1) as embedded, octapi.Cluster(embedded.address) as cluster:
        error = cluster.options(retries=0).submit(hoard, str(tmp_path / "a"), 1500).exception()

        assert isinstance(error, JobCrashed)
        assert error.is_out_of_memory
        assert cluster.submit(abs, -1).result() == 1


def name_and_die_once(path: str) -> str:
    """Write down the job's name; the first time, kill the process."""
    import os
    import signal

    import octapi

    with Path(path).open("a") as file:
        file.write(octapi.job_id() + "\n")
    if len(Path(path).read_text().split()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return octapi.job_id()


def test_a_job_has_the_same_name_each_time_it_is_started(tmp_path: Path) -> None:
    """And no other job has it, neither of submit nor of map."""
    with EmbeddedCluster(workers=2) as embedded, octapi.Cluster(embedded.address) as cluster:
        name = cluster.submit(name_and_die_once, str(tmp_path / "ids")).result()
        assert (tmp_path / "ids").read_text().split() == [name, name]

        others = [cluster.submit(octapi.job_id).result() for _ in range(20)]
        mapped = list(cluster.map(lambda _: octapi.job_id(), range(500)))
        assert len({name, *others, *mapped}) == 521
