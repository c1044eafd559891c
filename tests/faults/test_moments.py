"""Moments that are rare and that a test can make: who is there and who is not, seen from the master."""

from collections.abc import Iterator

import pytest

from octapi.protocol import outcome
from tests.faults.simulation import Told, World


@pytest.fixture
def world() -> Iterator[World]:
    found = World()
    yield found
    found.close()


def test_a_worker_that_leaves_while_a_batch_is_given_to_it_costs_nobody_else(world: World) -> None:
    """Dask has closed its stream and has not told yet: the client and the master go on, the job runs elsewhere."""
    red, green = world.workers
    red.join()
    for _ in range(5):
        world.move()
    world.scheduler.stream_comms.pop(red.address)
    pending_job = Told(0, retries=1)
    world.pending_jobs.append(pending_job)
    world.loop.do(world.queue.submit, pending_job)
    while world.up.frames:
        world.client_speaks()
    assert [held.worker for held in world.client.held.values()] == ["red"]

    red.leave()
    green.join()
    for _ in range(20):
        world.move()
    assert pending_job.outcomes == [outcome.VALUE]


def hear(world: World, kind: str) -> None:
    """Let the master hear how the computation stands on the first worker, and the client hear of it."""
    rest = ("no",) if kind == "refused" else ()
    world.workers[0].up.append((kind, world.queue.digest, *rest))
    for _ in range(4):
        world.workers[0].speak()
        world.client_hears()


@pytest.mark.parametrize("how", ["ready", "forget"])
def test_a_worker_that_refused_a_computation_takes_it_once_it_can(world: World, how: str) -> None:
    """It says that it is ready, or is to forget the computation and get it anew."""
    red = world.workers[0]
    red.join()
    for _ in range(5):
        world.move()
    hear(world, "refused")
    agent = world.gateway.workers.by_name["red"]
    assert agent.refused == set(), "it was not given that computation"
    agent.known.add(world.queue.digest)
    hear(world, "refused")
    assert agent.refused == {world.queue.digest}

    if how == "ready":
        hear(world, "ready")
    else:
        world.loop.do(world.queue.drop, "red")
    pending_job = Told(0, retries=1)
    world.loop.do(world.queue.submit, pending_job)
    for _ in range(20):
        world.move()
    assert pending_job.outcomes == [outcome.VALUE]
