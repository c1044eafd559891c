"""The dispatcher's rules against an unreliable world: no job is lost, none has two outcomes."""

import itertools
import math
import pickle
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octapi.client.item_range import MISSING, ItemChunk, ItemRange, RawOutcome
from octapi.client.linked_core import LinkedCore
from octapi.client.listener import ComputationListener
from octapi.client.pending_job import PendingJob
from octapi.client.queue import ComputationQueue
from octapi.errors import BatchRefused
from octapi.protocol import outcome, wire
from octapi.protocol.computation import FUNCTION, Computation
from octapi.protocol.news import Lost
from octapi.protocol.outcome import WorkerInfo
from octapi.protocol.worker_messages import Begun, Cut, End, Results

SLOTS = 3
WORKER = WorkerInfo("w", "127.0.0.1", "h", SLOTS, "test", "3")


class Told(PendingJob):
    """A ticket that counts its outcomes."""

    def __init__(self, number: int, retries: int) -> None:
        super().__init__(pickle.dumps(((number,), {})), retries=retries)
        self.number = number
        self.kinds: list[int] = []

    def resolve(self, kind: int, data: bytes, *_: Any) -> None:
        self.kinds.append(kind)
        self.said = data


class Arrivals:
    """A reader of a page that does nothing with what arrives."""

    def arrived(self, page: ItemChunk, start: int, stop: int, freed: int) -> None:
        """Nothing to do."""


class World:
    """A link that keeps what it is given; the test plays the agent."""

    travel = (0, 0)

    def __init__(self) -> None:
        self.flying: dict[int, dict[str, Any]] = {}
        self.started: Counter[bytes] = Counter()

    def define(self, *_: Any) -> None:
        """Nothing to do."""

    def tell(self, *_: Any) -> None:
        """Nothing to do."""

    def run(self, ident: int, run: int, digest: str, facts: dict[str, Any]) -> None:
        assert ident not in self.flying
        self.flying[ident] = facts


def records(facts: dict[str, Any], start: int, stop: int) -> bytes:
    """Results of jobs ``start`` to ``stop`` of a batch, as its slot would send them."""
    if facts["form"] == wire.ITEMS:
        values = [args[0] for args in pickle.loads(wire.buffer_of(facts["data"]))[start:stop]]
        data = pickle.dumps(values)
        return wire.RECORD.pack(start, outcome.GROUP, len(data), 1.0, 0.001) + data if values else b""
    found = b""
    for index in range(start, stop):
        (number,), _ = pickle.loads(wire.jobs_of(facts["form"], facts["data"])[index])
        data = pickle.dumps(number)
        found += wire.RECORD.pack(index, outcome.VALUE, len(data), 1.0, 0.001) + data
    return found


def play(core: LinkedCore, world: World, which: int, how: str, point: int) -> None:
    """Let one batch that flies end in some way after ``point`` jobs."""
    ident = sorted(world.flying)[which % len(world.flying)]
    facts = world.flying.pop(ident)
    point %= facts["jobs"] + 1
    core.message("w", Begun(ident, 0))
    if how == "lost":
        core.message("w", Results(ident, records(facts, 0, point)))
        core.message("w", Lost(ident))
        core.message("w", Results(ident, records(facts, 0, facts["jobs"])))  # late news of a lost attempt
        return
    core.message("w", Results(ident, records(facts, 0, point)))
    if how == "died" and point < facts["jobs"]:
        core.message("w", End(ident, "died", point, {"signal": 9, "why": ""}))
    elif how == "cut" and 0 < point < facts["jobs"]:
        core.message("w", Cut(ident, point))
        core.message("w", End(ident, "returned", point, {}))
    elif point < facts["jobs"]:
        core.message("w", End(ident, "returned", point, {}))
    else:
        core.message("w", End(ident, "done", point, {}))


def world_of(retries: int) -> tuple[LinkedCore, World, ComputationQueue]:
    core, world = LinkedCore(), World()
    core.link = world  # type: ignore[assignment]
    core.workers_changed({"w": WORKER})
    queue = ComputationQueue(core, Computation(FUNCTION, "f"), None, ComputationListener())
    core.add_lane(queue)
    return core, world, queue


moves = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from(["done", "lost", "died", "cut", "returned"]), st.integers(0, 10_000)),
    max_size=40,
)


def finish(core: LinkedCore, world: World) -> None:
    """Let everything that is left succeed."""
    for turn in itertools.count():
        if not world.flying:
            return
        assert turn < 5_000
        ident = min(world.flying)
        play(core, world, sorted(world.flying).index(ident), "done", world.flying[ident]["jobs"])


@settings(max_examples=150, deadline=None)
@given(count=st.integers(1, 200), retries=st.integers(0, 3), moves=moves)
def test_every_job_gets_one_outcome_whatever_happens(count: int, retries: int, moves: list[Any]) -> None:
    """Cut, lost, died, returned: afterwards each ticket has exactly one outcome, and values are the right ones."""
    core, world, queue = world_of(retries)
    pending_jobs = [Told(number, retries) for number in range(count)]
    for pending_job in pending_jobs:
        queue.submit(pending_job)
    for move in moves:
        if world.flying:
            play(core, world, *move)
    finish(core, world)

    assert [len(pending_job.kinds) for pending_job in pending_jobs] == [1] * count
    assert not queue.batches
    assert not core.batches
    assert not queue.unpinned
    faults = sum(pending_job.kinds[0] == outcome.FAULT for pending_job in pending_jobs)
    assert faults <= sum(how == "died" for _, how, _ in moves) + sum(how == "lost" for _, how, _ in moves) * count


@settings(max_examples=150, deadline=None)
@given(count=st.integers(1, 400), moves=moves)
def test_every_item_of_a_map_gets_one_outcome_whatever_happens(count: int, moves: list[Any]) -> None:
    """The same for spans, which are split, lost in part and told twice."""
    core, world, queue = world_of(5)
    arrived: Counter[int] = Counter()

    class Reader:
        def arrived(self, page: ItemChunk, start: int, stop: int, freed: int) -> None:
            arrived.update(range(start, stop))

    page = ItemChunk([(number,) for number in range(count)], Reader())
    queue.add(ItemRange(page, 0, count, None, 100))
    for move in moves:
        if world.flying:
            play(core, world, *move)
    finish(core, world)

    assert page.left == 0
    assert [arrived[number] for number in range(count)] == [1] * count
    values = page.values
    assert MISSING not in values
    wrong = [n for n, value in enumerate(values) if value != n and not isinstance(value, RawOutcome)]
    assert wrong == []


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 50), chosen=st.sets(st.integers(0, 49)), moves=moves)
def test_cancelled_jobs_never_run_again(count: int, chosen: set[int], moves: list[Any]) -> None:
    """What waits ends as cancelled at once; what is given back ends as cancelled then."""
    core, world, queue = world_of(2)
    pending_jobs = [Told(number, 2) for number in range(count)]
    for pending_job in pending_jobs:
        queue.submit(pending_job)
    for number in chosen:
        if number < count:
            queue.cancel(pending_jobs[number])
    for move in moves:
        if world.flying:
            play(core, world, *move)
    finish(core, world)

    assert [len(pending_job.kinds) for pending_job in pending_jobs] == [1] * count


def test_bytecode_of_another_python_is_refused_by_name() -> None:
    """The error says which Python the workers run; what travels as source is sent."""
    core, world, _ = world_of(0)
    bound = ComputationQueue(
        core, Computation(FUNCTION, "f", python_bound=True, python="3.11.7"), None, ComputationListener()
    )
    core.add_lane(bound)
    core.workers_changed({"w": WORKER._replace(python="3.13.1")})
    pending_job = Told(1, 0)
    bound.submit(pending_job)

    assert pending_job.kinds == [outcome.FAULT]
    assert not world.flying


GOOD = pickle.dumps(1)


@pytest.mark.parametrize("is_map", [False, True])
@pytest.mark.parametrize(
    "record",
    [
        wire.RECORD.pack(0, outcome.VALUE, len(GOOD), math.nan, 0.1) + GOOD,
        wire.RECORD.pack(0, outcome.VALUE, len(GOOD), 1.0, math.inf) + GOOD,
        wire.RECORD.pack(0, outcome.VALUE, len(GOOD), 1e300, 0.1) + GOOD,
        wire.RECORD.pack(0, outcome.VALUE, len(GOOD), -1.0, 0.1) + GOOD,
        wire.RECORD.pack(7, outcome.VALUE, len(GOOD), 1.0, 0.1) + GOOD,
        wire.RECORD.pack(0, 77, len(GOOD), 1.0, 0.1) + GOOD,
        wire.RECORD.pack(0, outcome.VALUE, 1 << 30, 1.0, 0.1) + GOOD,
    ],
    ids=["no number", "no end", "after all calendars", "before 1970", "no such job", "unknown kind", "cut off"],
)
def test_a_record_that_cannot_be_fails_its_batch_by_name_and_nothing_else(record: bytes, is_map: bool) -> None:
    """The next batch of the same script has its outcomes; what a worker says is checked here, not believed."""
    core, world, queue = world_of(0)
    pending_job, page = Told(0, 0), ItemChunk([(0,)], Arrivals())
    if is_map:
        queue.add(ItemRange(page, 0, 1, None, 0))
    else:
        queue.submit(pending_job)
    (ident,) = world.flying
    del world.flying[ident]
    core.message("w", Results(ident, record))

    data = page.values[0].data if is_map else pending_job.said
    assert isinstance(pickle.loads(data), BatchRefused)
    assert not core.batches
    other = Told(1, 0)
    queue.submit(other)
    finish(core, world)
    assert other.kinds == [outcome.VALUE]
