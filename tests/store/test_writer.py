"""The database survives kills, full disks and damage; it is written seldom, and by one."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from octapi.errors import StateError
from octapi.store import schema, writer
from octapi.store.outcomes import Outcomes
from octapi.store.reader import Reader
from octapi.store.runs import SAVE, Run
from octapi.store.trace_table import TraceTable
from octapi.store.writer import Writer, open_for_writing
from tests.harness import until

WRITES = """
import sys
from pathlib import Path
from octapi.store.outcomes import Outcomes
from octapi.store.writer import Writer

place, first = Path(sys.argv[1]), int(sys.argv[2])
found = Writer(place)
kept = Outcomes(found)
print("begun", flush=True)
for number in range(first, first + 1_000_000):
    kept.keep("261124-161455-abc", number, b"%d " % number * 300, 1.0)
    found.put("INSERT INTO batches VALUES (?, ?, 1, 'f', 0)", ("261124-161455-abc", number))
    if number % 3 == 0:
        found.flush().result(30)
        print(number, flush=True)
"""


def test_a_writer_killed_at_any_instruction_leaves_a_sound_database_with_all_that_was_promised(tmp_path: Path) -> None:
    """SIGKILL, again and again, in the middle of writing: what had been reported safe is there, each message whole."""
    place, first = tmp_path / "history" / "history.db", 0
    for attempt in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES, str(place), str(first)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        safe = [int(process.stdout.readline()) for _ in range(1 + 3 * (attempt % 4))]
        time.sleep(0.0007 * attempt)  # not to wait for anything, but to strike at other instructions
        process.send_signal(signal.SIGKILL)
        safe += [int(line) for line in process.stdout if line.endswith("\n")]
        process.wait(10)
        process.stdout.close()
        with sqlite3.connect(place) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        found = dict(Reader(place).outcomes("261124-161455-abc", limit=1_000_000))
        assert set(range(safe[-1] + 1)) <= set(found)
        for number, frame in found.items():
            assert frame == b"%d " % number * 300
        assert {row[0] for row in Reader(place).batches("261124-161455-abc")} == set(found), "a transaction was torn"
        first = max(found) + 1


def test_changes_are_grouped_and_an_idle_database_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand changes within the time of a group are one transaction; lazy ones alone are none."""
    committed: list[int] = []
    real = writer.commit

    def count(connection: sqlite3.Connection, changes: list[writer.Change], *, safely: bool) -> None:
        committed.append(len(changes))
        real(connection, changes, safely=safely)

    monkeypatch.setattr(writer, "commit", count)
    monkeypatch.setattr(writer, "GROUP_S", 30.0)
    found = Writer(tmp_path / "history.db")
    story = TraceTable(found)
    for number in range(1000):
        story.tell("run", "rate", number % 10, {"done": number})
    found.flush().result(30)
    assert committed == [10]
    monkeypatch.setattr(writer, "GROUP_S", 0.01)
    story.tell("run", "rate", 10, {})
    until(lambda: committed == [10, 1])
    found.put("INSERT INTO node_events VALUES ('red', 1.0, 'joined', '')", (), lazily=True)
    with pytest.raises(AssertionError):
        until(lambda: len(committed) > 2, 1.0)
    story.tell("run", "rate", 11, {})
    until(lambda: committed == [10, 1, 2])
    found.close()
    assert [event["at"] for event in Reader(tmp_path / "history.db").events("red")] == [1.0]
    assert Reader(tmp_path / "history.db").story("run", "rate", last=9) == [(n, {"done": 990 + n}) for n in range(10)]


def test_a_full_database_is_said_once_and_works_again_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came meanwhile is written then; a flush that cannot be kept says so."""
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    monkeypatch.setattr(writer, "GROUP_S", 0.05)
    limit = [1 << 30]
    real = writer._open

    def small(path: Path) -> sqlite3.Connection:
        connection = real(path)
        connection.execute(f"PRAGMA max_page_count = {limit[0]}")
        return connection

    monkeypatch.setattr(writer, "_open", small)
    said: list[str] = []
    found = Writer(tmp_path / "history.db", said.append)
    found.flush().result(30)
    limit[0] = 40
    assert found._connection is not None
    found._connection.execute("PRAGMA max_page_count = 40")
    kept = Outcomes(found)
    for number in range(100):
        kept.keep("run", number, os.urandom(4096), 1.0)
    with pytest.raises(StateError, match="full"):
        found.flush().result(30)
    until(lambda: said)
    assert "full" in found.trouble
    limit[0] = 1 << 30
    until(lambda: not found.trouble)
    found.flush().result(30)
    assert len(Reader(tmp_path / "history.db").outcomes("run")) == 100
    assert [bool(text) for text in said] == [True, False]
    found.close()


def test_what_waits_while_the_disk_is_full_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first, and it is counted."""
    monkeypatch.setattr(writer, "MOST_WAITING", 50)
    place = tmp_path / "file" / "history.db"
    (tmp_path / "file").touch()
    found = Writer(place)
    until(lambda: found.trouble)
    for number in range(80):
        found.put("INSERT INTO node_events VALUES ('red', ?, '', '')", (float(number),))
    assert found.dropped >= 30
    assert len(found._changes) <= 50
    found.close()


def test_many_changes_at_once_are_all_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than may wait while the disk is full: without trouble they are written early, and nothing is dropped."""
    monkeypatch.setattr(writer, "MOST_WAITING", 50)
    found = Writer(tmp_path / "history.db")
    kept = Outcomes(found)
    for number in range(5000):
        kept.keep("run", number, b"x", 1.0)
        found.put("INSERT INTO node_events VALUES ('red', ?, '', '')", (float(number),), lazily=True)
    found.flush().result(30)
    found.close()
    assert len(Reader(tmp_path / "history.db").outcomes("run", limit=10_000)) == 5000
    assert found.dropped == 0


def test_a_change_that_lasts_is_not_dropped_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be written the others make room, and whoever has more is told that there is none."""
    monkeypatch.setattr(writer, "MOST_WAITING", 50)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    (tmp_path / "file").touch()
    found = Writer(tmp_path / "file" / "history.db")
    until(lambda: found.trouble)
    kept = Outcomes(found)
    for number in range(60):
        kept.keep("run", number, b"x", 1.0)
        found.put("INSERT INTO node_events VALUES ('red', ?, '', '')", (float(number),))
    assert found.is_full
    (tmp_path / "file").unlink()
    until(lambda: not found.trouble)
    found.flush().result(30)
    found.close()
    assert len(Reader(tmp_path / "file" / "history.db").outcomes("run")) == 60


def test_a_damaged_database_is_put_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    """The damaged file stays there under another name."""
    place = tmp_path / "history.db"
    place.write_bytes(b"this is no database" * 1000)
    found = Writer(place)
    found.flush().result(30)
    found.close()
    assert Reader(place).runs() == []
    assert [path.name.partition("damaged")[1] for path in tmp_path.glob("*damaged*")] == ["damaged"]


def test_a_database_is_brought_to_this_releases_version_step_by_step(tmp_path: Path) -> None:
    """A step that fails changes nothing; one of a later release is left alone, with an error that says so."""
    connection = open_for_writing(tmp_path / "history.db")
    assert schema.version_of(connection) == len(schema.STEPS)
    connection.execute("INSERT INTO story VALUES ('run', 'rate', 1, '{}')")
    steps = (*schema.STEPS, ("ALTER TABLE story ADD COLUMN note TEXT", "INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        schema.migrate(connection, steps)
    assert schema.version_of(connection) == len(schema.STEPS)
    assert connection.execute("SELECT * FROM story").fetchall() == [("run", "rate", 1, "{}")]
    schema.migrate(connection, (*schema.STEPS, ("ALTER TABLE story ADD COLUMN note TEXT",)))
    assert connection.execute("SELECT * FROM story").fetchall() == [("run", "rate", 1, "{}", None)]
    connection.close()
    found = Writer(tmp_path / "history.db")
    with pytest.raises(StateError, match="later release"):
        found.flush().result(30)
    found.close()


def test_done_counts_no_failed_jobs_also_in_databases_of_earlier_releases(tmp_path: Path) -> None:
    """They counted both together; what makes no sense becomes 0."""
    connection = sqlite3.connect(tmp_path / "history.db", isolation_level=None)
    schema.migrate(connection, schema.STEPS[:2])
    for ident, done, failed in (("261124-161455-abc", 40, 8), ("261124-161455-abd", 0, 3)):
        connection.execute(SAVE, Run(ident, done=done, failed=failed).row())
    connection.close()
    found = Writer(tmp_path / "history.db")
    found.flush().result(30)
    found.close()
    runs = {run.id[-3:]: (run.done, run.failed) for run in Reader(tmp_path / "history.db").runs()}
    assert runs == {"abc": (32, 8), "abd": (0, 3)}


def test_readers_of_another_process_cannot_write(tmp_path: Path) -> None:
    """They open it read-only, while the writer works."""
    found = Writer(tmp_path / "history.db")
    found.flush().result(30)
    with (
        Reader(tmp_path / "history.db").open() as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM runs")
    found.close()
    with pytest.raises(StateError, match="cannot be read"):
        Reader(tmp_path / "nothing.db").runs()


@pytest.mark.parametrize("value", [2**64 - 1, math.nan, math.inf, "\ud800", [1], {"a": 1}, None])
def test_a_value_that_no_database_can_hold_is_left_out_and_the_rest_is_written(tmp_path: Path, value: Any) -> None:
    """It is counted and said; the writer goes on, and nobody waits for it in vain."""
    said: list[str] = []
    found = Writer(tmp_path / "history.db", log=said.append)
    found.put("INSERT INTO node_events VALUES (?, ?, ?, ?)", ("red", 1.0, "joined", "before"))
    found.put("INSERT INTO node_events VALUES (?, ?, ?, ?)", ("red", value, "joined", "odd"))
    found.put("INSERT INTO node_events VALUES (?, ?, ?, ?)", ("red", 2.0, "joined", "after"))

    found.flush().result(10)

    assert [row["text"] for row in Reader(tmp_path / "history.db").events("red")] == ["after", "before"]
    assert found.spoilt == len(said) == 1
    assert not found.trouble
    found.close()


def test_the_writers_thread_goes_on_whatever_goes_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is said and counted; who waits is told, and the next change is written."""
    said: list[str] = []
    found = Writer(tmp_path / "history.db", log=said.append)
    found.flush().result(10)
    monkeypatch.setattr(writer, "commit", lambda *_, **__: 1 / 0)

    with pytest.raises(StateError, match="division"):
        found.flush().result(10)

    monkeypatch.undo()
    found.put("INSERT INTO node_events VALUES (?, ?, ?, ?)", ("red", 2.0, "joined", "after"))
    found.flush().result(10)
    assert found.restarts == 1
    assert "goes on" in said[0]
    assert Reader(tmp_path / "history.db").events("red")
    found.close()
