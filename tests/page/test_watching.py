"""What the master keeps for those who watch is bounded, whatever they and the scripts do."""

import asyncio
import gc
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from octapi.errors import OctapiError
from octapi.master.gateway.session import ClientSession
from octapi.master.gateway.subscriptions import (
    COURSE,
    COURSE_EVERY,
    SAMPLE_S,
    UNREAD_BYTES,
    UNREAD_S,
    Courses,
    Seen,
    Subscriptions,
    strain,
)
from octapi.page.api import Reading
from octapi.protocol import client_messages
from octapi.telemetry.run_trace import RunTrace
from tests.faults.simulation import Remembering

NEWS = {
    "output": [["pi-1", "work", "out", "secret"]],
    "causes": [
        {"key": "k", "count": 1, "line": "x.py:3", "arguments": "secret", "traceback": "secret", "output": "secret"}
    ],
}


class Unread:
    """A connection of somebody who reads nothing."""

    def __init__(self) -> None:
        self.bytes = 0
        self.is_aborted = False

    @property
    def unsent(self) -> int:
        return self.bytes

    def write(self, data: bytes) -> None:
        self.bytes += len(data)

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


def test_of_a_run_that_is_over_only_its_story_stays_in_memory() -> None:
    """Not the computations, the batches and the outcomes of its client."""

    async def scene() -> None:
        client = ClientSession(None, {})
        client.run, client.story = "run", RunTrace(0.0)
        watching = Subscriptions(list, list, lambda: 0.0)
        watching.ended(client)
        del client
        gc.collect()
        assert not [found for found in gc.get_objects() if isinstance(found, ClientSession) and found.run == "run"]
        assert watching.over["run"][1] is not None

    asyncio.run(scene())


def test_a_watcher_that_reads_no_more_is_told_no_more_and_hung_up_on() -> None:
    """What waits for it stays within a frame of the limit; one that reads again in time is told everything anew."""

    async def scene() -> None:
        writer: Any = Unread()
        client = ClientSession(writer, {})
        watching = Subscriptions(list, lambda: [client], lambda: 0.0)
        watching.add(client)
        (seen,) = watching._seen.values()
        news = {"output": ["x" * 10_000]}
        for second in range(3000):
            watching.story(client, news)
            if not seen.is_behind(second * 0.01):
                watching._tell(seen, {}, {})
        assert writer.bytes < UNREAD_BYTES + 20_000
        assert seen.is_new
        assert not seen.stories
        assert not writer.is_aborted
        writer.bytes = 0
        assert not seen.is_behind(31.0)
        writer.bytes = 2 * UNREAD_BYTES
        assert seen.is_behind(100.0)
        assert seen.is_behind(100.0 + UNREAD_S - 1.0)
        assert not writer.is_aborted
        assert seen.is_behind(100.0 + UNREAD_S + 1.0)
        assert writer.is_aborted
        watching.close()

    asyncio.run(scene())


def test_watchers_that_may_not_read_a_run_get_its_counts_but_no_words() -> None:
    """Output, arguments and tracebacks are left out, in all of a story and in what is new."""

    async def scene() -> None:
        writer: Any = Unread()
        stranger, owner = ClientSession(writer, {}), ClientSession(writer, {})
        stories: dict[int, Any] = {}
        watching = Subscriptions(list, list, lambda: 0.0, lambda client, run: client is owner)
        client = ClientSession(None, {})
        client.run, client.story = "run", RunTrace(0.0)
        client.story.printed("pi-1", "work", "secret", "out")
        found = client.story.cause("k")
        assert found is not None
        found |= NEWS["causes"][0]  # type: ignore[arg-type]
        watching.ended(client)
        for watcher in (stranger, owner):
            watcher.send = lambda told, number=watcher.number: stories.update({number: told.frame})  # type: ignore[method-assign]
            seen = Seen(watcher)
            watching._seen[watcher.number] = seen
            watching._tell(seen, {}, {})
            watching.story(client, NEWS)
        for watcher, may in ((stranger, False), (owner, True)):
            first = stories[watcher.number]["stories"]["run"]
            watching._tell(watching._seen[watcher.number], {}, {})
            assert ("secret" in str(first)) is may
            assert ("secret" in str(stories[watcher.number]["stories"])) is may
            assert "x.py:3" in str(stories[watcher.number]["stories"])

    asyncio.run(scene())


def test_the_login_of_a_run_its_masters_owner_and_the_page_may_read_it(tmp_path: Path) -> None:
    """Another login may not; without encryption, and in the cluster of one script, everybody may."""
    world = Remembering(tmp_path)
    try:
        gateway = world.gateway
        gateway.access.viewers, gateway.access.owners = {"page"}, {"owner"}
        gateway.registry.begin("261124-161455-abc", {}, "laptop", 1)

        def may(ident: str) -> bool:
            watcher = SimpleNamespace(peer=SimpleNamespace(ident=ident, cluster="c"))
            found: bool = gateway.access.may_read(watcher, "261124-161455-abc")
            return found

        assert [may(ident) for ident in ("laptop", "owner", "page", "other")] == [True, True, True, False]
        assert gateway.access.may_read(SimpleNamespace(peer=None), "261124-161455-abc")
        gateway.access.viewers = None
        assert may("other")
    finally:
        world.close()


def test_load_and_memory_of_each_worker_are_kept_for_half_an_hour_and_no_longer() -> None:
    """Also of one that went away; what a worker does not tell is not made up."""
    courses, step = Courses(), COURSE_EVERY * SAMPLE_S
    well = SimpleNamespace(name="well", info={"health": {"cpu": 12.4, "memory": 250}, "memory": 1000})
    mute: Any = SimpleNamespace(name="mute", info={"health": {}, "memory": 0})
    courses.sample([mute], 0.0)
    for number in range(1, 2 * COURSE):
        courses.sample([cast("Any", well)], number * step)

    found = courses.of(["well", "mute", "nobody"])
    assert list(found) == ["well"]
    assert len(found["well"]) == COURSE
    assert found["well"][-1] == [(2 * COURSE - 1) * step, 88, 75]
    assert found["well"][-1][0] - found["well"][0][0] < 1800
    assert strain({}, 0) == (None, None)
    courses.sample([mute], 2 * COURSE * step)
    assert courses.of(["mute"]) == {"mute": [[2 * COURSE * step, None, None]]}


def test_the_course_of_a_run_is_what_the_master_has_in_mind_and_before_that_what_was_written_down() -> None:
    """Only of the time of the run; without a master's answer what was written down is enough."""
    story = RunTrace(1e9)
    story.took("pi-1", "work", 1e9 + 1000, 1e9 + 1600, 9, 0, 5.0)
    story.took("pi-2", "work", 1e9 + 1000, 1e9 + 1600, 8, 0, 5.0)
    kept = {"pi-1": [[1e9 + 900, 1, 1], [1e9 + 1000, 10, 20], [1e9 + 1200, 30, 40]]}
    fine = {"pi-1": [[1e9 + 1100, 50, 60], [1e9 + 1500, 70, 80], [1e9 + 9000, 2, 2]]}

    async def ask(question: Any) -> Any:
        assert question == client_messages.Courses(["pi-1", "pi-2"])
        if not fine:
            raise OctapiError("The master does not answer now.")
        return fine

    async def courses(names: list[str], first: float, last: float) -> Any:
        return {name: [row for row in kept.get(name, []) if first <= row[0] <= last] for name in names}

    async def fresh() -> None:
        return None

    site: Any = SimpleNamespace(
        feed=SimpleNamespace(ask=ask, fresh=fresh),
        history=SimpleNamespace(courses=courses),
        model=SimpleNamespace(story=lambda _: story),
    )
    request: Any = SimpleNamespace(path_params={"run": "r"})

    def told() -> Any:
        return json.loads(bytes(asyncio.run(Reading(site).courses(request)).body))["courses"]

    assert told() == {"pi-1": [kept["pi-1"][1], *fine["pi-1"][:2]]}
    fine.clear()
    assert told() == {"pi-1": kept["pi-1"][1:]}
