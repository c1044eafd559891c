"""A batch that overstays is cut: its client sends the rest again, and nobody else may."""

from octapi.protocol import wire
from octapi.protocol.worker_messages import Cut, End, Results
from tests.faults.simulation import Told, World


def begin(world: World) -> tuple[str, int]:
    """Send four jobs in one batch to a worker, and return the batch."""
    red, green = world.workers
    for worker in (red, green):
        worker.join()
        for _ in range(8):
            worker.speak()
            world.client_hears()
    world.pending_jobs += [Told(number, 50) for number in range(4)]
    world.queue.batcher.measured(4, 0.04)  # so that several batches are sent ahead
    world.loop.do(world.core.run, world.queue.send_batch, list(world.pending_jobs))
    for _ in range(4):
        world.client_speaks()
        red.hear()
    (key,) = red.agent.batches
    assert len(red.agent.batches[key].jobs) == 4
    assert not green.agent.batches
    found: tuple[str, int] = key
    return found


def run_on(world: World) -> None:
    """Let the workers run on without the client."""
    for _ in range(40):
        for worker in world.workers:
            worker.speak()
            worker.hear()
            worker.agent.step()


def test_what_a_client_sent_again_after_a_cut_is_not_run_by_the_master_too() -> None:
    """The script is killed after that: each job runs once."""
    world = World()
    try:
        key = begin(world)
        red = world.workers[0]
        red.agent.step()
        red.resumable.post(Cut(key, 1))
        for _ in range(4):
            red.speak()
            world.client_hears()
        world.loop.do(world.link._acknowledge)
        for _ in range(6):
            world.client_speaks()
        assert len(world.client.held) == 4, "the rest was not sent again"
        world.cut()
        del red.agent.batches[key]
        record = wire.RECORD.pack(0, 0, 1, 1.0, 0.01) + b"x"
        red.resumable.post(Results(key, record))
        red.resumable.post(End(key, "returned", 1, {}))
        world.loop.do(world.gateway.detached.detach, world.client)
        run_on(world)
        assert {number: world.started[number] for number in range(4)} == dict.fromkeys(range(4), 1)
    finally:
        world.close()
