"""A run and its states, without a database, a network or a clock; then with a database."""

import time
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from octapi.device.accounts import Account
from octapi.master.gateway.registry import RunRegistry
from octapi.store import runs
from octapi.store.location import closed_to, database, prepare
from octapi.store.reader import Reader
from octapi.store.runs import Run
from octapi.store.workers import WorkerHistory
from octapi.store.writer import Writer


class Life(RuleBasedStateMachine):
    """Whatever happens to a run, in any order, it is in exactly one state that makes sense."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.run = Run("261124-161455-abc", submitted=self.now, started=self.now)
        self.past = [self.run]

    @rule(event=st.sampled_from(sorted(runs.MOVES)), passed=st.floats(0, 1000))
    def happen(self, event: str, passed: float) -> None:
        self.now += passed
        before = self.run
        self.run = runs.moved(before, event, self.now)
        assert (self.run is before) == (event not in {e for e, moves in runs.MOVES.items() if before.state in moves})
        self.past.append(self.run)

    @rule(summary=st.dictionaries(st.sampled_from(["waiting", "done", "failed", "functions", "x"]), st.integers(-5, 5)))
    def count(self, summary: dict[str, Any]) -> None:
        self.run = runs.counted(self.run, summary, 4)

    @invariant()
    def makes_sense(self) -> None:
        run = self.run
        assert run.state in runs.STATES
        assert min(run.waiting, run.running, run.done, run.failed) >= 0
        assert (run.ended is None) == (run.state == runs.RUNNING)
        assert run.ended is None or 1000.0 <= run.ended <= self.now
        assert runs.of_row(run.row()) == run

    @invariant()
    def stopped_expired_and_failed_are_for_good(self) -> None:
        states = [run.state for run in self.past]
        for last in (runs.STOPPED, runs.EXPIRED, runs.FAILED):
            if last in states:
                assert set(states[states.index(last) :]) == {last}


TestLife = Life.TestCase


def test_ids_sort_by_time_and_are_named_by_their_letters() -> None:
    """The date can be read, and three letters are enough on the command line."""
    ids = [runs.new_id(1_795_536_895.0 + step) for step in range(0, 100_000, 777)]
    assert ids == sorted(ids)
    assert all(runs.IDENT.fullmatch(ident) for ident in ids)
    assert ids[0].startswith("261124-")
    letters = ids[3].rpartition("-")[2]
    assert ids[3] in runs.found(letters, ids)
    assert runs.found(ids[3], ids) == [ids[3]]
    assert runs.found("zzzz", ids) == []


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(), st.lists(st.text())), max_size=5))
def test_whatever_a_client_says_of_its_jobs_is_kept_safely(summary: dict[str, Any]) -> None:
    """Hostile summaries change nothing but counts and names."""
    run = runs.counted(Run("261124-161455-abc"), summary | {"done": 3, "functions": ["f" * 500, "g"]}, 2)
    assert run.done == 3
    assert run.functions == ("f" * 200, "g")


def test_a_book_finds_runs_again_after_its_master_was_killed(tmp_path: Path) -> None:
    """Runs that ran are interrupted, those that are gone still wait, and those that ended stay as they were."""
    registry = RunRegistry(tmp_path)
    ids = [f"261124-16145{n}-abc" for n in range(4)]
    for ident in ids:
        registry.begin(ident, {"script": "a.py", "user": "ada", "arguments": ["1"]}, "owner", 4)
    registry.count(ids[0], {"done": 5, "waiting": 2, "running": 1, "functions": ["f"]}, 8)
    registry.move(ids[1], "left")
    registry.move(ids[2], "bye")
    registry.writer.flush().result(30)
    again = RunRegistry(tmp_path)
    registry.close()
    states = {run.id: run.state for run in again.recent()}
    assert states == dict(zip(ids, (runs.INTERRUPTED, runs.GONE, runs.DONE, runs.INTERRUPTED), strict=True))
    first = again.find(ids[0])
    assert first is not None
    assert (first.done, first.waiting, first.slots, first.functions) == (5, 0, 8, ("f",))
    assert again.begin(ids[0], {}, "owner", 4).state == runs.RUNNING
    assert again.new_id(ids[0], lambda run: run.owner == "owner") == ids[0]
    assert again.new_id(ids[0], lambda run: run.owner == "another") != ids[0]
    assert again.new_id("../../etc/passwd") != "../../etc/passwd"
    again.close()


def test_outcomes_and_runs_have_an_age_limit(tmp_path: Path) -> None:
    """Outcomes expire after days, runs and their story after a year."""
    now = [time.time()]
    registry = RunRegistry(tmp_path, lambda: now[0])
    ident = registry.new_id()
    registry.begin(ident, {}, "owner", 1)
    registry.outcomes.keep(ident, 1, b"x", now[0])
    registry.story.tell(ident, "rate", 0, {})
    registry.move(ident, "left")
    registry.writer.flush().result(30)
    assert registry.reader is not None
    now[0] += 6.9 * 86400
    registry.forget_old()
    assert ident in registry.open_runs
    now[0] += 0.2 * 86400
    registry.forget_old()
    registry.writer.flush().result(30)
    run = registry.find(ident)
    assert run is not None
    assert run.state == runs.EXPIRED
    assert "7 days" in run.error
    assert registry.reader.outcomes(ident) == []
    now[0] += 366 * 86400
    registry.forget_old()
    registry.writer.flush().result(30)
    assert registry.recent() == []
    assert registry.reader.story(ident, "rate") == []
    registry.close()


def test_a_book_without_a_place_forgets_and_goes_on() -> None:
    """Everything works, in memory."""
    registry = RunRegistry(None)
    ident = registry.new_id()
    registry.begin(ident, {"script": "a.py"}, "", 1)
    assert [run.script for run in registry.recent()] == ["a.py"]
    registry.move(ident, "bye")
    registry.forget_old()
    assert [run.state for run in registry.recent()] == [runs.DONE]
    registry.close()


def test_nodes_have_a_history(tmp_path: Path) -> None:
    """Joins, deaths and health over time, in few rows."""
    found = Writer(tmp_path / "history.db")
    nodes = WorkerHistory(found)
    facts = {"address": "10.0.0.2", "host": "red", "slots": 4, "platform": "Linux", "python": "3.13.1"}
    facts |= {"name": "red", "release": "1", "memory": 1 << 30}
    for day in range(3):
        nodes.joined(facts, day * 86400.0)
        for minute in range(60):
            nodes.health("red", {"cpu": minute}, day * 86400.0 + 60 * minute)
        nodes.went("red", "lost", "its connection ended", day * 86400.0 + 3600)
    for number in range(600):
        nodes.event("red", "drained", str(number), 3 * 86400.0 + number)
    found.close()
    reader = Reader(tmp_path / "history.db")
    (row,) = reader.nodes()
    assert (row["state"], row["joins"], row["deaths"], row["first_seen"], row["last_seen"]) == (
        "lost", 3, 3, 0.0, 2 * 86400 + 3600
    )  # fmt: skip
    assert len(reader.health("red")) == 18
    assert len(reader.events("red", 10_000)) == 500


def test_the_directory_of_the_database_is_for_one_account(tmp_path: Path) -> None:
    """Mode 0700, below a directory of the master's."""
    place = prepare(tmp_path / "state", None)
    assert place.stat().st_mode & 0o777 == 0o700
    assert database(tmp_path / "state").parent == place
    assert closed_to(place, Account("stranger", 54321, 54321))
