"""A script that was away too long is told where its results are, also by a master that was started anew."""

from pathlib import Path
from typing import Any

from octapi.protocol import wire
from tests.faults.simulation import Pipe, Remembering, Told, World


def come_back(world: World) -> Any:
    """Let the script greet the master again, and return the answer."""
    down: Any = Pipe()
    world.loop.do(world.gateway.sessions.greet, down, world.link.introduction(True), None)
    return wire.unpack(down.frames.popleft()[wire.LENGTH.size :])


def test_a_script_that_slept_too_long_is_told_where_its_results_are(tmp_path: Path) -> None:
    """Its outcomes, which the worker need not keep any more, stay on disk until they are fetched."""
    world = Remembering(tmp_path)
    try:
        red = world.workers[0]
        red.join()
        for _ in range(8):
            red.speak()
            world.client_hears()
        world.pending_jobs.append(Told(0, 0))
        world.loop.do(world.queue.submit, world.pending_jobs[0])
        for _ in range(4):
            world.client_speaks()
            red.hear()
        run = world.client.run
        world.cut()
        for _ in range(4):
            red.agent.step()
            red.speak()
        world.client.absence_s, world.client.is_recoverable = 30.0, True
        world.pass_time(31)
        world.loop.do(world.gateway.sessions.expire, world.client)
        kind, facts = come_back(world)
        assert kind == "refused"
        assert "away longer than 30 s" in facts["text"]
        assert facts["text"].endswith(f"octapi jobs recover {run}")
        world.gateway.registry.writer.flush().result(30)

        world.restart_master()
        kind, facts = come_back(world)
        assert kind == "refused"
        assert facts["text"].endswith(f"octapi jobs recover {run}")
        world.gateway.registry.writer.flush().result(30)
        assert len(world.gateway.registry.reader.outcomes(run)) == 1
    finally:
        world.close()
