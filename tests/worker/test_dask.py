"""cluster.dask: whatever a user of Dask writes, on the same workers, in processes beside the agents."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import psutil
import pytest

import octapi
from octapi.device import limits
from octapi.pool import library_threads
from octapi.pool.memory_guard import MEGABYTE
from octapi.testing import EmbeddedCluster
from octapi.worker import dask_process
from tests.harness import until

TASKS = "octapi.worker.dask_worker"


class ShortIdle(EmbeddedCluster):
    """A cluster that ends Dask's processes soon after their last use."""

    def news(self, facts: dict[str, Any]) -> dict[str, Any]:
        return super().news(facts) | {"settings": {"dask_idle_s": 0.3}}


class Counter:
    """A number that lives on a worker."""

    number = 0

    def add(self) -> int:
        self.number += 1
        return self.number


def add_from_task(counter: Any) -> int:
    found: int = counter.add().result()
    return found


def squares(count: int) -> int:
    with distributed.worker_client() as client:
        return sum(client.gather(client.map(lambda n: n * n, range(count))))


def task_processes(of: int) -> list[psutil.Process]:
    """Return the processes of Dask's tasks below a process."""
    found = []
    for process in psutil.Process(of).children(recursive=True):
        try:
            if TASKS in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(workers=2, slots=1) as found:
        yield found


@pytest.fixture(scope="module")
def cluster(embedded: EmbeddedCluster) -> Iterator[octapi.Cluster]:
    with octapi.Cluster(embedded.address, progress=False) as found:
        yield found


@pytest.fixture
def client(cluster: octapi.Cluster) -> Any:
    return cluster.dask


# ---- what a user of Dask writes


def test_arrays(client: Any) -> None:
    """A sum over chunks that lie on two workers, by compute() alone."""
    import dask.array as da

    assert da.ones((1_000, 1_000), chunks=(250, 250)).sum().compute() == 1_000_000


def test_dataframes(client: Any) -> None:
    """A group-by, by compute() alone."""
    import dask.dataframe as dd
    import pandas as pd

    frame = dd.from_pandas(pd.DataFrame({"key": [1, 2, 1, 2], "value": [1, 2, 3, 4]}), npartitions=2)

    assert frame.groupby("key").value.sum().compute().to_dict() == {1: 4, 2: 6}


def test_delayed_runs_on_the_workers(client: Any) -> None:
    """compute() of a graph finds the cluster by itself; it does not run in the script, in silence."""
    parts = [dask.delayed(pow)(n, 2) for n in range(5)]

    assert dask.delayed(sum)(parts).compute() == 30
    assert dask.delayed(os.getpid)().compute() in client.run(os.getpid).values()


def test_futures_as_they_complete(client: Any) -> None:
    """as_completed and wait look for the client themselves."""
    futures = client.map(abs, range(-4, 0))
    assert sorted(future.result() for future in distributed.as_completed(futures)) == [1, 2, 3, 4]
    assert distributed.wait(client.map(abs, range(-9, -4)), timeout=30).not_done == set()
    assert distributed.get_client() is client


def test_queue_variable_lock_and_event_of_script_and_tasks(client: Any) -> None:
    """What tasks and the script share, made on both sides."""

    def work(number: int) -> int:
        with distributed.Lock("door"):
            distributed.Queue("belt").put(number)
        distributed.Event("started").set()
        value: int = distributed.Variable("factor").get(timeout=10)
        return number * value

    variable, belt = distributed.Variable("factor"), distributed.Queue("belt")
    variable.set(10)
    assert client.gather(client.map(work, range(3))) == [0, 10, 20]
    assert sorted(belt.get(timeout=10) for _ in range(3)) == [0, 1, 2]
    assert distributed.Event("started").wait(timeout=10)


def test_actors_of_the_script_and_of_tasks(client: Any) -> None:
    """An actor answers the script, and tasks of its own worker and of the other."""
    counter = client.submit(Counter, actor=True).result(timeout=60)
    assert counter.add().result(timeout=60) == 1
    workers = list(client.run(os.getpid))
    found = [client.submit(add_from_task, counter, workers=[place], pure=False).result(timeout=60) for place in workers]

    assert found == [2, 3]
    assert counter.number == 3


def test_tasks_that_submit_tasks(client: Any) -> None:
    """worker_client and get_client; the task steps aside meanwhile, so one slot a worker is enough."""
    assert client.gather(client.map(squares, [3] * 6, pure=False)) == [5] * 6


def test_what_nobody_waits_for_is_done(client: Any, tmp_path: Path) -> None:
    """fire_and_forget: the future goes, the task does not."""
    place = tmp_path / "done"
    distributed.fire_and_forget(client.submit(place.touch))
    until(place.exists)


def test_progress_shows_a_bar(client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """progress() writes to the script's stdout until all is done."""
    distributed.progress(client.map(abs, range(-20, -10)), notebook=False)
    assert "100%" in capsys.readouterr().out.replace(" ", "")


def test_files_and_scattered_data(client: Any, tmp_path: Path) -> None:
    """upload_file and scatter reach all workers."""
    path = tmp_path / "brought_by_the_script.py"
    path.write_text("def answer():\n    return 42\n")
    client.upload_file(str(path))

    def use() -> int:
        import brought_by_the_script  # type: ignore[import-not-found]

        found: int = brought_by_the_script.answer()
        return found

    assert set(client.run(use).values()) == {42}
    assert client.submit(sum, client.scatter([1, 2, 3], broadcast=True, hash=False)).result(timeout=60) == 6


def test_joblib_with_its_dask_backend(cluster: octapi.Cluster) -> None:
    """scikit-learn's way to run in parallel."""
    import joblib

    with joblib.parallel_config("dask", client=cluster.dask):
        assert joblib.Parallel()(joblib.delayed(abs)(-n) for n in range(10)) == list(range(10))


def test_workers_have_their_names(client: Any) -> None:
    """A task can be sent to a worker by its name, and each worker counts once."""
    rows = client.scheduler_info(n_workers=-1)["workers"].values()
    assert sorted(row["name"] for row in rows) == ["worker-1", "worker-2"]
    assert client.submit(abs, -3, workers="worker-2").result(timeout=60) == 3


# ---- which client is Dask's current one


def test_the_client_is_the_current_one_until_it_is_closed(embedded: EmbeddedCluster) -> None:
    """Afterwards the one before is current again, and the cluster opens another when it is asked."""
    where = embedded.address
    with octapi.Cluster(where, progress=False) as one, octapi.Cluster(where, progress=False) as two:
        first = one.dask
        assert distributed.get_client() is first
        with two.dask as second:
            assert distributed.get_client() is second
            assert dask.delayed(abs)(-1).compute() == 1
        assert distributed.get_client() is first
        assert two.dask is not second
        assert two.dask.submit(abs, -2).result(timeout=60) == 2
        assert distributed.get_client() is two.dask


def test_a_client_of_the_user_is_current_again_afterwards(embedded: EmbeddedCluster) -> None:
    """A Dask cluster of one's own beside ours: whichever client was opened last is current."""
    own = distributed.Client(processes=False, dashboard_address=None, n_workers=1, threads_per_worker=1)
    with own, octapi.Cluster(embedded.address, progress=False) as cluster:
        assert dask.delayed(os.getpid)().compute() == os.getpid()
        with cluster.dask as client:
            assert dask.delayed(os.getpid)().compute() in client.run(os.getpid).values()
        assert dask.delayed(os.getpid)().compute() == os.getpid()


def test_threads_find_the_client(client: Any) -> None:
    """The current client is everybody's, not only the thread's that asked for it."""
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: dask.delayed(abs)(-n).compute(), range(8)))
    assert found == list(range(8))


# ---- a task that ends its process


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_task_that_kills_its_process_is_no_end_for_others(
    embedded: EmbeddedCluster, cluster: octapi.Cluster, number: int
) -> None:
    """It fails with KilledWorker; jobs of OctaPi that run meanwhile succeed, and agents and workers are the same."""
    client = cluster.dask
    before = {worker.name: worker.life for worker in cluster.workers()}
    agents = [process.pid for process in embedded.processes]
    jobs = [cluster.submit(time.sleep, 0.02) for _ in range(50)]

    def die() -> None:
        os.kill(os.getpid(), number)

    error = client.submit(die, pure=False, retries=0).exception(timeout=120)
    assert type(error).__name__ == "KilledWorker"
    assert [job.result(timeout=60) for job in jobs] == [None] * 50
    assert {worker.name: worker.life for worker in cluster.workers()} == before
    assert [process.pid for process in embedded.processes if process.poll() is None] == agents
    assert client.gather(client.map(abs, range(-10, 0))) == list(range(10, 0, -1))
    until(lambda: len(client.nthreads()) == 2)


def test_exit_in_a_task_on_this_computer_alone(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a cluster there are as many processes as slots; one that ends is followed by another, which is said."""
    others = task_processes(os.getpid())
    with octapi.Cluster("local", slots=1, progress=False) as cluster:
        client = cluster.dask
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        assert len(client.nthreads()) == 1
        error = client.submit(os._exit, 7, pure=False).exception(timeout=120)
        assert type(error).__name__ == "KilledWorker"
        assert client.submit(sum, [1, 2, 3]).result(timeout=60) == 6
        assert cluster.submit(abs, -1).result(timeout=60) == 1
        assert len(task_processes(os.getpid())) == len(others) + 1
    assert task_processes(os.getpid()) == others
    assert "the process of Dask's tasks ended (exit code 7); another one starts" in capfd.readouterr().err


def test_prints_of_tasks_reach_the_terminal_on_this_computer_alone(capfd: pytest.CaptureFixture[str]) -> None:
    """As with Dask's own cluster of one computer."""
    with octapi.Cluster("local", slots=1, progress=False) as cluster:
        cluster.dask.submit(print, "said by a task", flush=True).result(timeout=60)
    assert "said by a task" in capfd.readouterr().out


def test_a_file_beside_the_script_is_no_library(tmp_path: Path) -> None:
    """A script's own random.py stops no process, and its other modules can be imported by tasks."""
    (tmp_path / "random.py").write_text("raise SystemExit('this is not the library')\n")
    (tmp_path / "helper.py").write_text("def double(n):\n    return 2 * n\n")
    script = (
        "import sys\nhere = sys.path.pop(0)\nimport octapi, distributed\nsys.path.append(here)\nimport helper\n"
        "with octapi.Cluster('local', slots=1) as c:\n    print(c.dask.submit(helper.double, 21).result(timeout=60))\n"
    )
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "42\n", done.stderr


# ---- when the processes are there


def test_restart_ends_the_processes_of_tasks_only(embedded: EmbeddedCluster, cluster: octapi.Cluster) -> None:
    """client.restart() gives new ones; agents, slots and jobs go on."""
    client = cluster.dask
    before = set(client.run(os.getpid).values())
    lives = {worker.life for worker in cluster.workers()}
    job = cluster.submit(time.sleep, 0.5)

    assert client.restart(timeout=60) is client
    after = set(client.run(os.getpid).values())
    assert len(after) == 2
    assert not before & after
    assert job.result(timeout=60) is None
    assert {worker.life for worker in cluster.workers()} == lives


def test_restart_is_refused_while_others_have_results(embedded: EmbeddedCluster, cluster: octapi.Cluster) -> None:
    """One script's restart is no end for another's tasks."""
    kept = cluster.dask.submit(abs, -5, pure=False)
    assert kept.result(timeout=60) == 5
    refused = pytest.raises(RuntimeError, match="1 other clients of Dask have tasks or results")
    with octapi.Cluster(embedded.address, progress=False) as other, refused:
        other.dask.restart(timeout=30)
    assert kept.result(timeout=60) == 5


def test_processes_start_with_the_first_client_and_end_after_the_last() -> None:
    """An idle worker has none; while data that somebody published lies there, they stay."""
    with ShortIdle(workers=1) as embedded:
        worker = embedded.processes[1].pid
        with octapi.Cluster(embedded.address, progress=False) as cluster:
            assert cluster.submit(abs, -1).result(timeout=60) == 1
            assert task_processes(worker) == []
            client = cluster.dask
            (process,) = task_processes(worker)
            client.publish_dataset(client.submit(abs, -7), name="seven")
        with octapi.Cluster(embedded.address, progress=False) as cluster:
            assert cluster.dask.get_dataset("seven").result(timeout=60) == 7
            assert task_processes(worker) == [process]
            cluster.dask.unpublish_dataset("seven")
        until(lambda: not task_processes(worker))
        with octapi.Cluster(embedded.address, progress=False) as cluster:
            assert cluster.dask.submit(abs, -2).result(timeout=60) == 2


def test_a_worker_that_joins_later_takes_tasks_too() -> None:
    """Also one that comes while somebody uses Dask."""
    with EmbeddedCluster(workers=1) as embedded, octapi.Cluster(embedded.address, progress=False) as cluster:
        client = cluster.dask
        embedded.add_worker("late")
        until(lambda: len(client.nthreads()) == 2)
        assert client.submit(abs, -1, workers="late").result(timeout=60) == 1


def test_a_worker_without_dask_runs_jobs_and_no_dask_tasks() -> None:
    """--no-dask: such a worker starts no process for Dask's tasks, and none of them comes into its agent."""
    with EmbeddedCluster(workers=1) as embedded:
        jobs_only = embedded.add_worker("jobs-only", takes_tasks=False)
        with octapi.Cluster(embedded.address, progress=False) as cluster:
            job = cluster.options(worker="jobs-only").submit(abs, -1)
            assert (job.result(), job.worker) == (1, "jobs-only")
            client = cluster.dask
            assert [row["name"] for row in client.scheduler_info()["workers"].values()] == ["worker-1"]
            futures = [client.submit(abs, -number, pure=False) for number in range(20)]
            assert sum(client.gather(futures)) == sum(range(20))
            assert task_processes(jobs_only.pid) == []


def test_a_worker_that_dies_takes_its_tasks_along(tmp_path: Path) -> None:
    """The process of its tasks ends with the agent, and they run elsewhere."""
    with EmbeddedCluster(workers=2) as embedded, octapi.Cluster(embedded.address, progress=False) as cluster:
        client = cluster.dask
        doomed = embedded.processes[1]
        (process,) = task_processes(doomed.pid)
        futures = client.map(lambda n: time.sleep(0.05) or n, range(40), pure=False)
        doomed.kill()
        assert client.gather(futures) == list(range(40))
        until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


# ---- pure decisions


def test_pauses_double_and_end_once_a_process_lives() -> None:
    """A process that dies at once, again and again, is started less and less often."""
    pauses = [0.0]
    for _ in range(9):
        pauses.append(dask_process.pause_after(pauses[-1], lived_s=1))
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30
    assert dask_process.pause_after(30, lived_s=60) == 0


@pytest.mark.parametrize(
    ("free_mb", "held_mb", "is_it"), [(20, 900, True), (20, 100, False), (500, 900, False), (0, 300, True)]
)
def test_dask_gives_way_before_jobs_of_others_are_stopped(free_mb: int, held_mb: int, is_it: bool) -> None:
    """Its process goes when it holds much and the device is nearly full."""
    total, floor = 1024 * MEGABYTE, 24 * MEGABYTE
    assert dask_process.is_too_big(total, free_mb * MEGABYTE, held_mb * MEGABYTE, floor) is is_it


def test_cores_are_divided_among_slots() -> None:
    """Libraries start as many threads as a slot has cores; what somebody has set stays."""
    found = library_threads.library_threads(2, cores=8, given={"MKL_NUM_THREADS": "7"})
    assert found["OMP_NUM_THREADS"] == found["OPENBLAS_NUM_THREADS"] == "4"
    assert "MKL_NUM_THREADS" not in found
    assert library_threads.library_threads(8, cores=2, given={})["OMP_NUM_THREADS"] == "1"


def test_slots_and_tasks_know_how_many_threads_to_start(cluster: octapi.Cluster) -> None:
    """So that numpy on all slots starts no more threads than there are cores."""
    share = str(max(1, limits.cores()))
    assert cluster.submit(os.getenv, "OPENBLAS_NUM_THREADS").result(timeout=60) == share
    assert set(cluster.dask.run(os.getenv, "OMP_NUM_THREADS").values()) == {share}
