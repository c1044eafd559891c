"""Calls as users write them, with the types that mypy and pyright must find; it is checked and never run."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, as_completed
from functools import partial
from pathlib import Path
from typing import Any, assert_type

import octapi
import octapi.dispy as dispy
from octapi import Cluster, Job, JobError


def area(width: float, height: float = 1.0, *, label: str = "") -> float:
    return width * height


def word(text: str) -> str | None:
    return text or None


def three(a: int, b: str, c: bytes) -> bool:
    return bool(a and b and c)


def five(a: int, b: int, c: int, d: int, e: int) -> tuple[int, ...]:
    return a, b, c, d, e


async def fetched(address: str) -> bytes:
    return address.encode()


def untyped(value):  # type: ignore[no-untyped-def]
    return value


class Model:
    def __init__(self, size: int) -> None:
        self.size = size

    def predict(self, value: float) -> list[float]:
        return [value] * self.size


class Scale:
    def __call__(self, value: int) -> float:
        return value * 0.5


with Cluster("local", slots=2, progress=False) as cluster:
    # submit
    assert_type(cluster, Cluster)
    assert_type(cluster.submit(area, 2.0, height=3.0, label="x"), Job[float])
    assert_type(cluster.submit(area, 2).result(timeout=1), float)
    assert_type(cluster.submit(word, "a").result(), str | None)
    assert_type(cluster.submit(Model(3).predict, 1.0), Job[list[float]])
    assert_type(cluster.submit(Model, 3), Job[Model])
    assert_type(cluster.submit(Scale(), 3), Job[float])
    assert_type(cluster.submit(partial(area, height=2.0), 3.0), Job[float])
    assert_type(cluster.submit(lambda: 1), Job[int])
    assert_type(cluster.submit(sum, [1, 2]).result() + 1, int)
    assert_type(cluster.submit(fetched, "here"), Job[bytes])
    assert_type(cluster.submit(untyped, 1).result(), Any)

    # jobs
    job = cluster.submit(word, "a")
    future: Future[str | None] = job
    assert_type((job.stdout, job.worker, job.started, job.memory), tuple[str, str | None, float | None, int])
    assert_type((job.files, job.attempts, job.cancel()), tuple[list[Path], int, bool])
    job.add_done_callback(lambda done: print(done.result()))
    for done in as_completed([job]):
        assert_type(done.result(), str | None)

    # map
    assert_type(list(cluster.map(word, ["a", "b"])), list[str | None])
    assert_type(list(cluster.map(area, [1.0], [2.0])), list[float])
    assert_type(list(cluster.map(three, [1], "ab", [b"x"])), list[bool])
    assert_type(list(cluster.map(five, [1], [1], [1], [1], [1])), list[tuple[int, ...]])
    assert_type(next(cluster.map(fetched, iter("ab"), ordered=False)), bytes)
    assert_type(list(cluster.map(Scale(), range(3), timeout=5, chunksize=4, buffersize=None)), list[float])
    results = cluster.map(word, (letter for letter in "ab"))
    as_iterator: Iterator[str | None] = results
    results.close()

    # options
    limited = cluster.options(timeout_s=5, retries=0, worker="pi-1", wait_for_worker=False)
    assert_type(limited.submit(area, 2.0), Job[float])
    assert_type(list(limited.map(word, ["a"])), list[str | None])
    cluster.options(files="data.csv", files_to=Path("out")).submit(area, 1.0)
    cluster.options(files=["a", Path("b")]).submit(area, 1.0)
    cluster.options(files=("a", "b"), timeout_s=None, worker=None)

    # the rest
    assert_type([worker.name for worker in cluster.workers()], list[str])
    executor: Executor = cluster
    cluster.shutdown(wait=False, cancel_futures=True)

Cluster()
Cluster(4)
Cluster(max_workers=4, mp_context=None, max_tasks_per_child=1)
octapi.Cluster("192.168.1.5:7700", page=True)
octapi.send_file("x")
assert_type(octapi.job_id(), str)
errors: tuple[type[JobError], ...] = (octapi.JobCrashed, octapi.JobTimeout, octapi.WorkerLost)


# a user's own function over any call
def twice(cluster: Cluster, function: Callable[[int], str]) -> list[Job[str]]:
    return [cluster.submit(function, number) for number in range(2)]


# dispy's names, as scripts use them
def status_changed(status: int, node: dispy.DispyNode | None, job: dispy.DispyJob | None) -> None:
    if status == dispy.DispyJob.Finished and job is not None:
        print(job.id, job.result, job.ip_addr, job.exception)


def done_with(job: dispy.DispyJob) -> None:
    print(job.stdout, job.end_time)


jobs = dispy.JobCluster(
    area, nodes=["192.168.1.*", dispy.NodeAllocate("pi-1", cpus=2)], depends=[word, Model, "data.csv"],
    job_status=done_with, cluster_status=status_changed, reentrant=True, loglevel=10, pulse_interval=2,
)  # fmt: skip
submitted = jobs.submit(1.0, height=2)
submitted.id = "first"
assert_type(submitted, dispy.DispyJob)
assert_type(submitted(), Any)
assert_type(jobs.submit(1.0, dispy_job_depends=["x"]), dispy.DispyJob | None)
assert_type(jobs.submit_node("pi-1", 1.0), dispy.DispyJob | None)
assert_type(jobs.status().jobs_pending, int)
assert_type(jobs.wait(timeout=3), bool)
jobs.print_status()
jobs.close()
dispy.SharedJobCluster("/bin/program", nodes="*", scheduler_host="pi-1")
assert_type(dispy.recover_jobs(), list[dispy.DispyJob])
