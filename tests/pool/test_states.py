"""The states of a computation and of a slot's end, and what moves between them: tables, and nothing beside them."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octapi.pool import computation_state, slot_end
from octapi.pool.agent import of_slot
from octapi.pool.batch import Batch
from octapi.pool.computation_state import Event, State
from octapi.pool.computations import Computations, Known
from octapi.protocol import wire
from octapi.protocol.computation import FUNCTION, Computation
from octapi.protocol.exits import KilledFor
from octapi.protocol.worker_messages import Closed, Provisional, Ready, Refused, SentFile


def after(*events: Event) -> State:
    """Return where a new computation stands after these."""
    state = State.SETTING_UP
    for event in events:
        state = computation_state.moved(state, event)
    return state


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([Event.SET_UP], State.READY),
        ([Event.REFUSED, Event.SET_UP], State.REFUSED),
        ([Event.SET_UP, Event.REFUSED], State.REFUSED),
        ([Event.SET_UP, Event.SETUP_DIED], State.SETTING_UP),
        ([Event.SET_UP, Event.RENEW, Event.SET_UP], State.RENEWING),
        ([Event.SET_UP, Event.RENEW, Event.LEAVE], State.LEAVING),
        ([Event.RENEW, Event.IDLE, Event.LEAVE], State.FINAL_CLEANUP),
        ([Event.LEAVE, Event.RENEW, Event.IDLE], State.FINAL_CLEANUP),
        ([Event.SET_UP, Event.IDLE], State.READY),
    ],
)
def test_a_computation_moves_as_its_table_says(events: Iterable[Event], state: State) -> None:
    """What cannot happen in a state leaves it as it is."""
    assert after(*events) is state


@given(st.lists(st.sampled_from(Event), max_size=12))
def test_what_leaves_never_comes_back(events: list[Event]) -> None:
    """Whatever happens to it, it takes no more batches; and each state can be left."""
    state = after(*events, Event.LEAVE)
    assert state in computation_state.LEAVING
    assert computation_state.moved(state, Event.IDLE) is State.FINAL_CLEANUP


@given(st.lists(st.sampled_from(KilledFor), max_size=6))
def test_what_a_guard_found_stands_until_somebody_asks_for_the_end(reasons: list[KilledFor]) -> None:
    """The last that was asked for counts; without one the first that was found; of a dropped batch nothing else."""
    standing = KilledFor.NOTHING
    for reason in reasons:
        standing = slot_end.moved(standing, reason)
    found = [reason for reason in reasons if reason is not KilledFor.NOTHING]
    asked = [reason for reason in found if reason in (KilledFor.CANCELLED, KilledFor.TIMEOUT)]
    if KilledFor.DROPPED in found:
        assert standing is KilledFor.DROPPED
    elif asked:
        assert standing is asked[-1]
    else:
        assert standing is (found[0] if found else KilledFor.NOTHING)


def test_each_reason_has_its_moves_and_its_word_on_the_wire() -> None:
    """Masters and scripts know the words, so they stay."""
    assert set(slot_end.MOVES) == set(KilledFor)
    words = {"", "cancelled", "timeout", "dropped", "refused", "frozen", "nonsense", "memory", "memory limit"}
    assert {reason.value for reason in KilledFor} == words


def test_what_a_slot_says_of_a_job_has_a_type() -> None:
    """A provisional result, and a file."""
    batch = Batch(("s", 1), "s", "d", {"form": wire.JOBS, "data": b"", "jobs": 3}, 0.0)
    body = msgpack.packb([2, "provisional", b"half"])
    assert of_slot(batch, body) == Provisional(("s", 1), 2, wire.blob(b"half"))
    body = msgpack.packb([0, "file", "a", b"x", 0o600, 1.0])
    assert of_slot(batch, body) == SentFile(("s", 1), 0, "a", wire.blob(b"x"), 0o600, 1.0)


# ---- the computations of an agent, without processes


class Server:
    """A prepared fork server of which the test says what becomes."""

    exited, falsehood, text, state = False, "", "it raised", "starting"
    is_cleaning = False

    def cleanup(self) -> None:
        self.is_cleaning = True


class Agent:
    """What computations need of an agent; it keeps what is said."""

    account, closed = None, False

    def __init__(self, home: Any) -> None:
        self.home = home
        self.said: list[Any] = []
        self.servers: list[Any] = []
        self.root = SimpleNamespace(forkserver=SimpleNamespace(prepared_server=self._prepared))
        self.namespace = SimpleNamespace(worker="red")
        self.later: list[Any] = []
        self.loop = SimpleNamespace(call_later=lambda _, *call: self.later.append(call))
        self.post = self.said.append

    def _prepared(self, *_: Any) -> Any:
        self.servers.append(Server())
        return self.servers[-1]

    def recall_all(self, *_: Any) -> None:
        """Nothing waits here."""

    def let_go(self, digest: str) -> None:
        """No slot has it."""

    def feed(self) -> None:
        """There are no slots."""


def computations(place: Any, **options: Any) -> tuple[Agent, Computations, Known]:
    """Return the computations of an agent, one of which is defined."""
    agent = Agent(place)
    found = Computations(agent)  # type: ignore[arg-type]
    found.define("d", Computation(FUNCTION, "f", **options).to_bytes(), {})
    return agent, found, found.known["d"]


def ends(server: Any, state: str) -> None:
    """Let a setup end."""
    server.state = state
    server.on_state(server)


def test_a_setup_that_ends_well_makes_a_computation_ready_and_again_after_its_process_died(tmp_path: Any) -> None:
    """It is said each time; between the two no job starts."""
    agent, _, known = computations(tmp_path, setup="setup")
    assert agent.said == []
    assert not known.takes_jobs
    ends(agent.servers[0], "ready")
    assert known.takes_jobs
    agent.servers[0].on_gone()
    assert not known.takes_jobs
    ((again, *args),) = agent.later
    again(*args)
    ends(agent.servers[1], "ready")
    assert agent.said == [Ready("d"), Ready("d")]


def test_a_setup_that_ends_while_its_computation_leaves_makes_it_ready_for_nobody(tmp_path: Any) -> None:
    """It is cleaned up once the process is gone, and closed."""
    agent, found, known = computations(tmp_path, setup="setup")
    found.forget("d")
    assert agent.servers[0].is_cleaning
    ends(agent.servers[0], "ready")
    assert agent.said == []
    assert found.get("d") is None
    agent.servers[0].on_gone()
    assert agent.said == [Closed("d")]
    assert found.known == {}
    assert known.state is State.FINAL_CLEANUP


def test_a_computation_that_is_renewed_and_then_forgotten_does_not_begin_anew(tmp_path: Any) -> None:
    """Its cleanup runs once."""
    agent, found, _ = computations(tmp_path, setup="setup")
    ends(agent.servers[0], "ready")
    found.renew("d", {"limit": 1})
    found.forget("d")
    agent.servers[0].on_gone()
    assert agent.said == [Ready("d"), Closed("d")]
    assert len(agent.servers) == 1


def test_a_computation_that_is_renewed_waits_for_its_jobs_and_has_its_new_limit(tmp_path: Any) -> None:
    """Then its setup runs in another process."""
    agent, found, known = computations(tmp_path, setup="setup")
    ends(agent.servers[0], "ready")
    known.running = 1
    found.renew("d", {"limit": 3})
    assert not agent.servers[0].is_cleaning
    assert not known.takes_jobs
    known.running = 0
    found.rest("d", known)
    agent.servers[0].on_gone()
    ends(agent.servers[1], "ready")
    assert found.known["d"] is not known
    assert (found.known["d"].limit, found.known["d"].state) == (3, State.READY)


def test_a_computation_that_kills_its_slots_while_they_load_it_is_refused_for_good(tmp_path: Any) -> None:
    """Also when its setup ends well after that."""
    agent, found, known = computations(tmp_path)
    assert agent.said == [Ready("d")]
    whys = [found.died("d", "was killed by SIGSEGV (11)") for _ in range(3)]
    assert whys[:2] == ["", ""]
    assert "3 processes in a row have ended while they loaded it" in whys[2]
    assert agent.said[1:] == [Refused("d", whys[2])]
    assert not known.takes_jobs
    assert known.state is State.REFUSED
