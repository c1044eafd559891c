"""What comes over the wire and makes no sense harms nobody but the sender, whose batch ends with a name."""

import asyncio
import math
import pickle
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import octapi
from octapi.client.connect import way_to
from octapi.client.payload import of_function
from octapi.client.remote import hello
from octapi.errors import MessageRefused
from octapi.pool.agent import Agent
from octapi.pool.namespace import Namespace
from octapi.protocol import news, outcome, specs, wire
from octapi.protocol.checked import Reader
from octapi.protocol.computation import Computation
from octapi.protocol.messages import plain as to_plain
from octapi.protocol.worker_messages import End, Results
from octapi.testing import EmbeddedCluster
from tests.client.test_core import WORKER, Told, world_of

quick = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 63), (1 << 64) - 1),
        st.floats(),
        st.text(max_size=8),
        st.binary(max_size=8),
        st.sampled_from([math.nan, math.inf, -1, 1 << 62, "w", 1, 0]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=6,
)
KINDS = "begun results provisional file cut end lost ready refused closed dropped nonsense".split()


def lively(core: Any, world: Any, queue: Any) -> None:
    """See that a dispatcher still gives a job its outcome."""
    pending_job = Told(7, 1)
    queue.submit(pending_job)
    data = pickle.dumps(7)
    while not pending_job.done:
        ident = min(world.flying)
        facts = world.flying.pop(ident)
        records = b"".join(
            wire.RECORD.pack(index, outcome.VALUE, len(data), 1.0, 0.1) + data for index in range(facts["jobs"])
        )
        core.message("w", Results(ident, records))
        core.message("w", End(ident, "done", facts["jobs"], {}))
    assert len(pending_job.kinds) == 1


@quick
@given(st.sampled_from(KINDS), st.lists(plain, max_size=7), st.booleans())
def test_a_dispatcher_lives_whatever_a_worker_says(kind: str, parts: list[Any], is_of_batch: bool) -> None:
    """Every job ends once: with what it gave, or with an error that has a name."""
    core, world, queue = world_of(1)
    pending_jobs = [Told(number, 1) for number in range(3)]
    for pending_job in pending_jobs:
        queue.submit(pending_job)
    first = min(world.flying)
    core.message("w", news.read((kind, first if is_of_batch else queue.digest, *parts)))
    core.message("w", news.read(tuple(parts)))
    queue.refused_on.clear()
    lively(core, world, queue)
    assert max(len(pending_job.kinds) for pending_job in pending_jobs) <= 1
    ends = {ident for ident in world.flying if ident not in core.batches}
    for pending_job in pending_jobs:
        assert pending_job.done or pending_job.batch is None or pending_job.batch.ident not in ends
    assert core.infos == {"w": WORKER}


# ---- a worker's agent


class Loop:
    """An agent on a thread of its own, and what it says."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.changed = threading.Condition()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.agent: Agent = self.do(self._make)

    def _make(self) -> Agent:
        agent = Agent(1, Namespace("w", "127.0.0.1"), self._post)
        agent.start()
        return agent

    def _post(self, message: Any) -> None:
        with self.changed:
            self.said.append(to_plain(message))
            self.changed.notify_all()

    def do(self, function: Callable[[], Any]) -> Any:
        """Run a function in the loop."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(60)

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        """Wait until it says something."""
        with self.changed:
            assert self.changed.wait_for(lambda: any(map(wanted, self.said)), 60), self.said
        return next(filter(wanted, self.said))

    def close(self) -> None:
        self.do(self.agent.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def agent() -> Iterator[Loop]:
    found = Loop()
    found.do(lambda: found.agent.on_define("abs", of_function("abs", pickle.dumps(abs), (), ()).to_bytes(), {}))
    yield found
    found.close()


def batch(**changed: Any) -> dict[str, Any]:
    """Return the facts of a batch of one job."""
    data = msgpack.packb([pickle.dumps(((-5,), {}))])
    facts = {"form": wire.JOBS, "data": data, "jobs": 1, "ids": b"\0" * 8, "worker": None}
    return facts | {"budget_s": 0.1, "timeout_s": None} | changed


def is_refused(reader: Reader, value: Any) -> bool:
    """Say whether a reader refuses a value."""
    try:
        reader(value)
    except MessageRefused:
        return True
    return False


NUMBERS = iter(range(1, 1 << 30))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(field=st.sampled_from(sorted(specs.BatchSpec.__annotations__)), value=plain)
def test_an_agent_refuses_a_batch_that_it_cannot_use(agent: Loop, field: str, value: Any) -> None:
    """By name, and lives: the next batch is done."""
    odd, good = ("s", next(NUMBERS)), ("s", next(NUMBERS))
    facts = batch(**{field: value})
    if is_refused(specs.batch, facts):
        agent.do(lambda: agent.agent.on_run(odd, "s", "abs", facts))
        end = agent.until(lambda message: message[:2] == ("end", odd))
        assert end[2] == "refused"
        assert end[4]["is_batch"]
        assert field in end[4]["text"]
    agent.do(lambda: agent.agent.on_run(good, "s", "abs", batch()))
    assert agent.until(lambda message: message[:2] == ("end", good))[2] == "done"


@quick
@given(field=st.sampled_from(sorted(Computation.__dataclass_fields__)), value=plain, own=plain)
def test_an_agent_refuses_a_computation_that_it_cannot_use(agent: Loop, field: str, value: Any, own: Any) -> None:
    """Its fields are of their types, or it is refused; nothing of it is begun."""
    fields = msgpack.unpackb(of_function("abs", pickle.dumps(abs), (), ()).to_bytes()) | {field: value}
    digest = f"odd-{next(NUMBERS)}"
    known = set(agent.agent.computations.known)
    if is_refused(Computation.from_bytes, msgpack.packb(fields)):
        agent.do(lambda: agent.agent.on_define(digest, msgpack.packb(fields), {}))
        assert "cannot be used" in agent.until(lambda message: message[:2] == ("refused", digest))[2]
    if is_refused(specs.own_facts, own):
        agent.do(lambda: agent.agent.on_define(digest, of_function("abs", pickle.dumps(abs), (), ()).to_bytes(), own))
    assert set(agent.agent.computations.known) == known


# ---- a master


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(workers=1, slots=1) as found:
        yield found


@pytest.fixture(scope="module")
def witness(embedded: EmbeddedCluster) -> Iterator[octapi.Cluster]:
    with octapi.Cluster(embedded.address) as found:
        yield found


async def say(address: str, *messages: Any) -> list[Any]:
    """Be a client that says something, and return what the master answered until it has taken it all."""
    stream = await way_to(address).open(10)
    mine = {"session": secrets.token_hex(8), "token": secrets.token_hex(8), "recoverable": False, "again": False}
    stream.write(wire.pack(("hello", hello() | mine)))
    heard = []
    try:
        while not heard or heard[-1][0] != "pace":
            heard.append(await asyncio.wait_for(wire.read_frame(stream), 20))
        for message in messages:
            stream.write(wire.pack(message))
        stream.write(wire.pack(("nodes",)))
        while heard[-1][0] not in ("nodes", "refused"):
            heard.append(await asyncio.wait_for(wire.read_frame(stream), 20))
    except (asyncio.IncompleteReadError, ConnectionError):
        heard.append(["hung up"])
    finally:
        stream.write(wire.pack(("bye",)))
        stream.close()
        await stream.wait_closed()
    return heard


def define(name: str = "odd") -> tuple[Any, ...]:
    return (
        "define",
        name,
        of_function("abs", pickle.dumps(abs), (), ()).to_bytes(),
        {"limits": None, "workers": {}, "python": ""},
    )


def ends_of(heard: list[Any]) -> list[Any]:
    """Return the ends of batches that were heard."""
    return [message[2] for message in heard if message[0] == "agent" and message[2][0] == "end"]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(field=st.sampled_from(sorted(specs.BatchSpec.__annotations__)), value=plain)
def test_a_master_refuses_a_batch_that_it_cannot_use(
    embedded: EmbeddedCluster, witness: octapi.Cluster, field: str, value: Any
) -> None:
    """With the field's name, or with the connection if it is no plain value at all; other scripts' jobs run."""
    name = f"odd-{next(NUMBERS)}"
    facts = batch(**{field: value})
    heard = asyncio.run(say(embedded.address, define(name), ("run", 1, 1, name, facts)))
    if is_refused(specs.batch, facts) and heard[-1][0] != "refused":
        (end,) = ends_of(heard)
        assert end[2] == "refused"
        assert field in end[4]["text"]
    assert witness.submit(abs, -3).result(60) == 3


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from("define run tell claim summary seen stop stop_job watch runs manage fetch drain what".split()),
    parts=st.lists(plain, max_size=5),
)
def test_a_master_lives_whatever_a_client_says(
    embedded: EmbeddedCluster, witness: octapi.Cluster, kind: str, parts: list[Any]
) -> None:
    """The one who says it may be hung up on, with the reason; nobody else notices."""
    if (kind, *parts[:1]) in (("stop", 1), ("drain", "worker-1")):
        return
    heard = asyncio.run(say(embedded.address, define(f"odd-{next(NUMBERS)}"), (kind, *parts)))
    assert heard[-1][0] in ("nodes", "refused")
    assert witness.submit(abs, -3).result(60) == 3
    assert len(witness.workers()) == 1


def test_a_client_cannot_touch_another_ones_computations(embedded: EmbeddedCluster, witness: octapi.Cluster) -> None:
    """It is told so, whatever it tries: forgetting, new files, another definition, the end of another's batches."""
    job = witness.submit(__import__("time").sleep, 2)
    witness.submit(abs, -1).result(60)
    digests = list(witness.engine.queues)
    for message in (
        ("tell", None, ("forget", digests[0])),
        ("tell", None, ("renew", digests[0], {})),
        ("tell", None, ("file", digests[0], ("a", b"", 0o644, 0.0))),
        ("tell", None, ("kill", witness.engine.link.session)),  # type: ignore[union-attr]
        ("tell", None, ("drop", [[witness.engine.link.session, 1]])),  # type: ignore[union-attr]
        ("tell", None, ("cancel", 1, 0, math.nan)),
        define(digests[0]),
    ):
        assert asyncio.run(say(embedded.address, message))[-1][0] == "refused"
    assert job.result(60) is None
    assert witness.submit(abs, -3).result(60) == 3
