"""Callbacks of jobs do as they like, and harm nobody."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import octapi
from octapi.client.callbacks import Callbacks
from tests.harness import until


def slow(number: int) -> int:
    import time

    time.sleep(0.2)
    return number


@pytest.fixture
def cluster() -> Iterator[octapi.Cluster]:
    with octapi.Cluster("local", slots=2) as found:
        yield found


def test_a_callback_may_wait_for_another_job(cluster: octapi.Cluster) -> None:
    """Outcomes go on arriving meanwhile, and other callbacks run."""
    told: list[Any] = []
    jobs = [cluster.submit(slow, number) for number in range(6)]
    jobs[0].add_done_callback(lambda _: told.append([job.result(30) for job in jobs]))
    jobs[1].add_done_callback(lambda job: told.append(job.result()))
    until(lambda: len(told) == 2)
    assert told == [1, [0, 1, 2, 3, 4, 5]]


def test_callbacks_may_wait_for_each_other(cluster: octapi.Cluster) -> None:
    """One that blocks holds nobody up for long."""
    event, told = threading.Event(), []
    first, second = cluster.submit(slow, 1), cluster.submit(slow, 2)
    first.add_done_callback(lambda _: told.append(event.wait(30)))
    second.add_done_callback(lambda _: event.set())
    until(lambda: told)
    assert told == [True]


def test_a_callback_may_submit_map_cancel_and_shut_down() -> None:
    """Shutting down in a callback waits for jobs, and not for the callback itself."""
    cluster = octapi.Cluster("local", slots=1)
    told: list[Any] = []
    jobs = [cluster.submit(slow, number) for number in range(4)]

    def tell(_: object) -> None:
        told.append(cluster.submit(abs, -5).result(30))
        told.append(list(cluster.map(abs, [-6])))
        jobs.extend(cluster.submit(slow, number) for number in range(4, 10))  # the last of them waits for the others
        told.append(jobs[-1].cancel())
        cluster.shutdown()
        told.append("shut")

    jobs[0].add_done_callback(tell)
    until(lambda: told and told[-1] == "shut")
    assert told == [5, [6], True, "shut"]
    assert [job.cancelled() or job.result() for job in jobs] == [*range(9), True]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_callback_that_raises_or_exits_harms_nobody(cluster: octapi.Cluster, error: type[BaseException]) -> None:
    """The other callbacks of its job run too."""
    told = []

    def fail(_: object) -> None:
        raise error("as asked")

    job = cluster.submit(slow, 1)
    job.add_done_callback(fail)
    job.add_done_callback(lambda job: told.append(job.result()))
    until(lambda: told)
    assert cluster.submit(abs, -2).result(30) == 2


def test_a_callback_that_exits_on_the_thread_that_cancels_is_that_threads_affair(cluster: octapi.Cluster) -> None:
    """As in the standard library, callbacks of a job that the script cancels run where it does so, and at once."""
    told: list[threading.Thread] = []
    jobs = [cluster.submit(slow, number) for number in range(8)]
    jobs[7].add_done_callback(lambda _: told.append(threading.current_thread()))
    assert jobs[7].cancel()
    assert told == [threading.current_thread()]


def test_shutdown_waits_for_callbacks() -> None:
    """All of what is done, however slow."""
    told = []
    with octapi.Cluster("local", slots=2) as cluster:
        for number in range(20):
            cluster.submit(abs, number).add_done_callback(lambda job: (slow(0), told.append(job.result())))
    assert sorted(told) == list(range(20))


def test_waiting_and_asyncio_work_without_a_thread_for_callbacks(cluster: octapi.Cluster) -> None:
    """``wait``, ``as_completed`` and ``asyncio.wrap_future`` need none."""
    until(lambda: "octapi-callbacks" not in {thread.name for thread in threading.enumerate()})

    async def scene() -> list[int]:
        return await asyncio.gather(*(asyncio.wrap_future(cluster.submit(abs, -number)) for number in range(50)))

    assert asyncio.run(scene()) == list(range(50))
    jobs = [cluster.submit(abs, -number) for number in range(50)]
    assert len(concurrent.futures.wait(jobs, 60).done) == 50
    assert len(list(concurrent.futures.as_completed(jobs, 60))) == 50
    assert "octapi-callbacks" not in {thread.name for thread in threading.enumerate()}


def test_callbacks_run_in_order_one_at_a_time() -> None:
    """As long as none blocks."""
    told: list[int] = []
    callbacks = Callbacks()
    for number in range(2000):
        callbacks.put(lambda number=number: told.append(number))  # type: ignore[misc]
    callbacks.drain()
    assert told == list(range(2000))


def test_callbacks_that_all_block_are_run_when_there_are_too_many() -> None:
    """The number of threads is bounded; the rest waits its turn."""
    event, told = threading.Event(), []
    callbacks = Callbacks()
    for number in range(80):
        callbacks.put(lambda number=number: (event.wait(30), told.append(number)))  # type: ignore[misc]
    until(lambda: callbacks._busy >= 3)
    event.set()
    callbacks.drain()
    assert sorted(told) == list(range(80))
