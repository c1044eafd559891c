"""Scripts on clusters of Dask that change under them: ``python -m tests.links.changing NAME DIRECTORY``.

Dask starts its workers with ``spawn``, which runs the main module again: so each is a script of its own, with a guard.
"""

import os
import pathlib
import signal
import sys
import time

from distributed import Client, LocalCluster

import octapi
from tests.harness import until


def wait_for(path: str) -> int:
    """Be a job that ends when a file is there, and return its process."""
    while not pathlib.Path(path).exists():
        time.sleep(0.01)
    return os.getpid()


def work(number: int) -> int:
    time.sleep(0.2)
    return number


def processes(_: pathlib.Path) -> None:
    """A local cluster is one with as many slots as threads."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as dask,
        octapi.Cluster(dask=dask) as cluster,
    ):
        assert {worker.name: worker.slots for worker in cluster.workers()} == {"0": 2, "1": 2}
        assert list(cluster.map(abs, range(-500, 0))) == list(range(500, 0, -1))


def threads(_: pathlib.Path) -> None:
    """One whose workers are threads of the script too."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None) as dask,
        octapi.Cluster(dask=dask) as cluster,
    ):
        assert list(cluster.map(abs, range(-500, 0))) == list(range(500, 0, -1))


def grows(_: pathlib.Path) -> None:
    """An adaptive cluster brings workers for waiting jobs, and takes them away when there are none."""
    with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None) as dask:
        dask.adapt(minimum=0, maximum=2, interval="100ms", wait_count=2)
        with octapi.Cluster(dask=dask) as cluster:
            assert cluster.workers() == ()
            jobs = [cluster.submit(work, number) for number in range(30)]
            until(lambda: len(cluster.workers()) == 2, 60)
            assert [job.result(timeout=60) for job in jobs] == list(range(30))
            until(lambda: not cluster.workers(), 60)
            assert cluster.submit(work, 7).result(timeout=60) == 7


def shrinks(place: pathlib.Path) -> None:
    """A cluster that shrinks leaves the workers that have jobs."""
    with (
        LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as dask,
        octapi.Cluster(dask=dask) as cluster,
    ):
        job = cluster.submit(wait_for, str(place / "go"))
        until(job.running, 60)
        busy = job.worker
        dask.adapt(minimum=0, maximum=3, interval="50ms", wait_count=1)
        until(lambda: len(cluster.workers()) == 1, 60)
        assert [worker.name for worker in cluster.workers()] == [busy]
        (place / "go").touch()

        assert job.result(timeout=60)
        assert job.worker == busy


def retires(place: pathlib.Path) -> None:
    """Jobs of a worker that is retired run elsewhere."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as dask,
        Client(dask) as client,
        octapi.Cluster(dask=client) as cluster,
    ):
        job = cluster.submit(wait_for, str(place / "go"))
        until(job.running, 60)
        first = job.worker
        rows = client.scheduler_info(n_workers=-1)["workers"]
        client.retire_workers([next(place for place, row in rows.items() if str(row["name"]) == first)])
        until(lambda: first not in [worker.name for worker in cluster.workers()], 60)
        (place / "go").touch()

        assert job.result(timeout=60)
        assert job.worker != first


def is_killed(place: pathlib.Path) -> None:
    """A worker whose process is killed under its nanny comes back, and gets its job again."""
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as dask, Client(dask) as client:
        pid = next(iter(client.run(os.getpid).values()))
        with octapi.Cluster(dask=client) as cluster:
            job = cluster.submit(wait_for, str(place / "go"))
            until(job.running, 60)
            os.kill(pid, signal.SIGKILL)
            (place / "go").touch()

            assert job.result(timeout=60)


if __name__ == "__main__":
    globals()[sys.argv[1]](pathlib.Path(sys.argv[2]))
    print("as it should be")
