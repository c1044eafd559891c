"""What the standard library promises of executors holds for Cluster."""

import concurrent.futures
import itertools
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from pathlib import Path

import pytest

import octapi
from octapi.results import next_size
from tests.harness import until


def wait_for(path: str) -> str:
    while not Path(path).exists():
        pass
    return "seen"


def add(a: int, b: int = 0) -> int:
    return a + b


def fail(_: object = None) -> None:
    raise ValueError("as asked")


@pytest.fixture(scope="module")
def cluster() -> Iterator[octapi.Cluster]:
    with octapi.Cluster("local", slots=2) as found:
        yield found


def test_it_is_an_executor_and_its_jobs_are_futures(cluster: octapi.Cluster) -> None:
    """Code written for the standard library takes them."""
    assert isinstance(cluster, concurrent.futures.Executor)
    assert isinstance(cluster.submit(add, 1), concurrent.futures.Future)


def test_keyword_arguments_reach_the_function_whatever_their_names(cluster: octapi.Cluster) -> None:
    """Options never collide with them: not self, fn, timeout_s, worker or retries."""
    job = cluster.submit(lambda **given: sorted(given), self=1, fn=2, timeout_s=3, worker=4, retries=5)

    assert job.result(timeout=30) == ["fn", "retries", "self", "timeout_s", "worker"]


def test_a_job_is_pending_then_running_then_done(cluster: octapi.Cluster, tmp_path: Path) -> None:
    """The three states, seen from outside."""
    flag = tmp_path / "go"
    jobs = [cluster.submit(wait_for, str(flag)) for _ in range(3)]
    until(lambda: sum(job.running() for job in jobs) == 2)

    assert not any(job.done() for job in jobs)
    flag.touch()
    assert [job.result(timeout=30) for job in jobs] == ["seen"] * 3
    assert not any(job.running() for job in jobs)


def test_a_job_that_waits_can_be_cancelled(cluster: octapi.Cluster, tmp_path: Path) -> None:
    """It never runs, result() raises CancelledError, and the callback is called."""
    flag, called = tmp_path / "go", threading.Event()
    busy = [cluster.submit(wait_for, str(flag)) for _ in range(2)]
    waits = cluster.submit(add, 1)
    waits.add_done_callback(lambda _: called.set())

    assert waits.cancel()
    assert waits.cancelled()
    assert called.wait(10)
    with pytest.raises(concurrent.futures.CancelledError):
        waits.result()
    flag.touch()
    assert [job.result(timeout=30) for job in busy] == ["seen"] * 2


def test_a_result_that_is_late_raises_timeout_error(cluster: octapi.Cluster, tmp_path: Path) -> None:
    """The job itself goes on."""
    flag = tmp_path / "go"
    job = cluster.submit(wait_for, str(flag))
    with pytest.raises(TimeoutError):
        job.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        job.exception(timeout=0.01)
    flag.touch()

    assert job.result(timeout=30) == "seen"


def test_callbacks_run_once_also_when_added_late(cluster: octapi.Cluster) -> None:
    """Before and after the end; one that raises harms nobody."""
    seen: list[int] = []
    job = cluster.submit(add, 2)
    job.add_done_callback(lambda found: seen.append(found.result()))
    assert job.result(timeout=30) == 2
    job.add_done_callback(lambda found: seen.append(found.result() + 1))

    assert max(seen) == 3


def test_wait_returns_at_the_first_the_first_error_and_all(cluster: octapi.Cluster, tmp_path: Path) -> None:
    """The three ways of concurrent.futures.wait."""
    flag = tmp_path / "go"
    slow = cluster.submit(wait_for, str(flag))
    quick, bad = cluster.submit(add, 1), cluster.submit(fail)

    done, _ = concurrent.futures.wait([slow, quick], timeout=30, return_when=FIRST_COMPLETED)
    assert quick in done
    done, waiting = concurrent.futures.wait([slow, bad], timeout=30, return_when=FIRST_EXCEPTION)
    assert (bad in done, slow in waiting) == (True, True)
    flag.touch()
    done, waiting = concurrent.futures.wait([slow, quick, bad], timeout=30, return_when=ALL_COMPLETED)
    assert len(done) == 3


def test_as_completed_gives_each_job_once(cluster: octapi.Cluster) -> None:
    """In the order in which they end."""
    jobs = {cluster.submit(add, n) for n in range(50)}

    assert set(concurrent.futures.as_completed(jobs, timeout=30)) == jobs


def test_map_takes_several_iterables_to_the_shortest(cluster: octapi.Cluster) -> None:
    """As the built-in does; a chunksize is accepted."""
    assert list(cluster.map(add, [1, 2, 3], itertools.count(10), chunksize=5)) == [11, 13, 15]
    assert list(cluster.map(add, [])) == []


def test_map_raises_the_first_error_in_its_place(cluster: octapi.Cluster) -> None:
    """Results before it are given; after it the iterator has ended."""
    results = cluster.map(lambda n: 10 // n, [5, 2, 0, 1])

    assert [next(results), next(results)] == [2, 5]
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_error_of_the_iterable_is_raised_to_the_reader(cluster: octapi.Cluster) -> None:
    """After the results of what it gave before."""

    def numbers() -> Iterator[int]:
        yield 1
        raise KeyError("no more")

    results = cluster.map(add, numbers())
    assert next(results) == 1
    with pytest.raises(KeyError):
        next(results)


def test_an_item_that_cannot_be_pickled_fails_in_its_place(cluster: octapi.Cluster) -> None:
    """The items before it have their results."""
    results = cluster.map(lambda item: 1, [1, threading.Lock()])

    assert next(results) == 1
    with pytest.raises(octapi.errors.JobNotSent, match="cannot be pickled"):
        next(results)


def test_items_that_share_an_object_get_copies_of_it(cluster: octapi.Cluster) -> None:
    """Batches cannot be noticed: a list given to many jobs is whole in each."""
    shared = [1, 2, 3]

    assert list(cluster.map(lambda items: items.pop() + len(items), itertools.repeat(shared, 2_000))) == [5] * 2_000


def test_closing_the_iterator_stops_the_work(cluster: octapi.Cluster, tmp_path: Path) -> None:
    """Items that run are interrupted, the others never run, and the iterable is not asked any more."""
    asked = itertools.count()
    results = cluster.map(lambda n: wait_for(str(tmp_path / "never")), asked, buffersize=100)
    results.close()

    assert cluster.submit(add, 4).result(timeout=30) == 4
    assert next(asked) < 1_000


def test_an_iterator_of_a_dead_slot_gives_the_others_their_results(cluster: octapi.Cluster) -> None:
    """One item kills its process: the items around it are not lost and run once."""

    def item(n: int) -> int:
        if n == 500:
            os._exit(9)
        return n

    found = []
    results = cluster.map(item, range(1_000), ordered=False)
    with pytest.raises(octapi.JobCrashed, match="exit code 9"):
        found.extend(results)
    assert set(found) <= set(range(1_000)) - {500}
    assert len(set(found)) == len(found)


def test_shutdown_can_cancel_what_waits(tmp_path: Path) -> None:
    """cancel_futures leaves those that run."""
    flag = tmp_path / "go"
    cluster = octapi.Cluster("local", slots=1)
    runs = cluster.submit(wait_for, str(flag))
    until(runs.running)
    waits = [cluster.submit(add, n) for n in range(10)]
    cluster.shutdown(wait=False, cancel_futures=True)
    flag.touch()

    assert runs.result(timeout=30) == "seen"
    assert [job.cancelled() for job in waits] == [True] * 10
    cluster.shutdown()


def test_shutdown_without_waiting_completes_what_was_submitted() -> None:
    """It returns at once, and the jobs still end."""
    cluster = octapi.Cluster("local", slots=1)
    jobs = [cluster.submit(add, n) for n in range(20)]
    cluster.shutdown(wait=False)

    assert [job.result(timeout=30) for job in jobs] == list(range(20))
    with pytest.raises(RuntimeError):
        cluster.submit(add, 1)


def test_pages_grow_for_quick_iterables_and_shrink_for_slow_ones() -> None:
    """A sensor that gives an item a second is not waited for until a page is full."""
    assert next_size(1, 0.0, 100_000) == 2
    assert next_size(12_500, 0.001, 100_000) == 12_500
    assert next_size(8, 1.0, 100_000) == 4
    assert next_size(1, 9.0, 1) == 1
