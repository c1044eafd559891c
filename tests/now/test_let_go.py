"""What is not used again is let go, everywhere."""

from __future__ import annotations

import functools
import gc
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import octapi
from octapi.client import queues
from octapi.errors import JobNotSent
from octapi.testing import EmbeddedCluster
from tests.harness import until
from tests.now import call, notebook

if TYPE_CHECKING:
    from collections.abc import Callable


class Target:
    """Something that jobs are given; in a module that slots can import."""

    def __init__(self) -> None:
        self.size = 3

    def method(self) -> int:
        """Run in a slot."""
        return self.size

    def __call__(self) -> int:
        return self.size


def is_gone(ref: weakref.ref[Any]) -> bool:
    """Say whether an object was let go."""
    gc.collect()
    return ref() is None


def test_what_a_call_was_made_of_is_let_go(cluster: octapi.Cluster) -> None:
    """The object of a method, a callable, an argument, an item, a function and its closure."""

    def taking(thing: Any) -> int:
        return thing.size  # type: ignore[no-any-return]

    def closing(thing: Any) -> Callable[[], int]:
        return lambda: thing.size  # type: ignore[no-any-return]

    ways: list[Callable[[Target], Any]] = [
        lambda thing: cluster.submit(thing.method),
        lambda thing: cluster.submit(thing),
        lambda thing: cluster.submit(taking, thing),
        lambda thing: cluster.submit(functools.partial(taking, thing)),
        lambda thing: cluster.submit(closing(thing)),
        lambda thing: list(cluster.map(taking, [thing])),
        lambda thing: list(cluster.map(taking, iter([thing]))),
        lambda thing: list(cluster.map(closing(thing))),
    ]
    for way in ways:
        thing = Target()
        ref = weakref.ref(thing)
        way(thing)
        del thing
        until(lambda ref=ref: is_gone(ref))  # type: ignore[misc]


def test_results_are_let_go_with_their_job(cluster: octapi.Cluster) -> None:
    """The engine keeps none, also while others of their batch run."""
    job = cluster.submit(Target)
    result = job.result(timeout=60)
    ref = weakref.ref(result)
    del job, result
    until(lambda: is_gone(ref))
    for found in cluster.map(lambda n: Target(), range(3)):
        ref = weakref.ref(found)
        del found
        until(lambda ref=ref: is_gone(ref))  # type: ignore[misc]


def test_what_cannot_be_sent_is_let_go_too(cluster: octapi.Cluster) -> None:
    """The error's traceback does not hold the arguments."""
    thing = Target()
    ref = weakref.ref(thing)
    job = cluster.submit(pow, thing, threading.Lock())
    assert isinstance(job.exception(timeout=60), JobNotSent)
    del thing
    until(lambda: is_gone(ref))


def test_functions_are_not_kept_by_what_is_known_of_them(cluster: octapi.Cluster) -> None:
    """Also when they reach themselves."""
    names = notebook("def fact(n): return 1 if n < 2 else n * fact(n - 1)\n")
    assert call(cluster, names["fact"], 5) == 120
    ref = weakref.ref(names["fact"])
    names.clear()
    until(lambda: is_gone(ref))


def agents_of(cluster: octapi.Cluster) -> list[Any]:
    """Return the agents that live in this process."""
    agent = getattr(cluster.engine.link, "agent", None)
    return [agent] if agent is not None else []


def test_thousands_of_callables_leave_nothing(cluster: octapi.Cluster) -> None:
    """Neither here nor at the workers is more kept than a few."""
    make = notebook("def make(n): return lambda n=n: n\n")["make"]
    jobs = [cluster.submit(make(n)) for n in range(300)]
    jobs += [cluster.submit(functools.partial(pow, n, 1)) for n in range(300)]
    jobs += [cluster.submit(eval(f"lambda: {n}", {"__name__": "__main__"})) for n in range(300)]
    assert [job.result(timeout=120) for job in jobs] == list(range(300)) * 3
    del jobs
    assert len(cluster._queues) <= queues.MOST
    until(lambda: len(cluster.engine.queues) <= queues.MOST)
    for agent in agents_of(cluster):
        until(lambda agent=agent: len(agent.computations.known) <= queues.MOST)  # type: ignore[misc]
        until(lambda agent=agent: len(list(agent.home.iterdir())) <= queues.MOST + 5)  # type: ignore[misc]
    gc.collect()
    assert len(cluster._queues._callables._entries) <= queues.MOST


def test_computations_that_are_not_used_again_are_forgotten_everywhere(tmp_path: Path) -> None:
    """At the client, the master, the workers and their slots; one that has jobs is forgotten after them."""
    with EmbeddedCluster(workers=1, slots=1) as embedded, octapi.Cluster(embedded.address) as cluster:
        gate = tmp_path / "gate"
        long = cluster.submit(wait_for, str(gate))
        makers = [notebook(f"def f{n}(): return {n}")[f"f{n}"] for n in range(queues.MOST + 20)]
        jobs = [cluster.submit(maker) for maker in makers]
        gate.touch()
        assert long.result(timeout=60) == "open"
        assert [job.result(timeout=60) for job in jobs] == list(range(queues.MOST + 20))
        until(lambda: len(cluster.engine.queues) <= queues.MOST)
        assert cluster.submit(makers[0]).result(timeout=60) == 0


def wait_for(path: str) -> str:
    """Run in a slot until a file is there."""
    while not Path(path).exists():
        time.sleep(0.01)
    return "open"
