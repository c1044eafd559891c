"""Reading the database: from the scheduler's process or from another one, while the writer works or when it does not.

Every method opens the database, reads and closes it, so nothing is locked or held in memory between two looks.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict, cast

from octapi.errors import StateError
from octapi.protocol.checked import GREATEST
from octapi.store import runs
from octapi.store.runs import COLUMNS, Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: the kind of the piece that holds a run's numbers
TOTALS: Final = "totals"


class KeptFrame(NamedTuple):
    """A message of a run that waits to be fetched."""

    number: int
    frame: bytes


class BatchRow(NamedTuple):
    """A batch of a run: its number, how many jobs it has, and whether it is over."""

    ident: int
    jobs: int
    function: str
    ended: int


class SessionRow(NamedTuple):
    """A client of a run, with the hash of its key, and whether it was gone."""

    session: str
    run: str
    secret: str
    gone: int


class WorkerRow(TypedDict):
    """A worker that ever was in, as its columns; times are epoch seconds, ``memory`` is bytes."""

    name: str
    state: str
    address: str
    host: str
    slots: int
    platform: str
    python: str
    release: str
    memory: int
    first_seen: float
    joined: float
    last_seen: float
    joins: int
    deaths: int
    reason: str


class WorkerEvent(TypedDict):
    """What happened to a worker at a moment (epoch seconds)."""

    at: float
    event: str
    text: str


NODE_COLUMNS = tuple(WorkerRow.__annotations__)
CHOOSE = f"SELECT {', '.join(COLUMNS)} FROM runs"


class Reader:
    """Reads one database.  All methods raise :exc:`StateError` when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that cannot write."""
        try:
            connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
            try:
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StateError(f"{self.path} cannot be read: {error}.") from error

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a question in SQL finds."""
        with self.open() as connection:
            return connection.execute(statement, values).fetchall()

    # ---- runs

    def runs(self, limit: int = 100, before: str = "", states: tuple[str, ...] = (), words: str = "") -> list[Run]:
        """Return runs, the latest first; those with ids below ``before``, in these states, with these words.

        ``words`` are looked for in id, script, arguments, user and host.
        """
        wanted, values = ["1"], list[Any]()
        if before:
            wanted.append("id < ?")
            values.append(before)
        if states:
            wanted.append(f"state IN ({', '.join('?' * len(states))})")
            values.extend(states)
        for word in words.split():
            wanted.append("instr(lower(id || ' ' || script || ' ' || arguments || ' ' || user || ' ' || host), ?)")
            values.append(word.lower())
        found = self.rows(f"{CHOOSE} WHERE {' AND '.join(wanted)} ORDER BY id DESC LIMIT ?", *values, limit)
        return [runs.of_row(row) for row in found]

    def run(self, ident: str) -> Run | None:
        """Return one run; None if there is none."""
        found = self.rows(f"{CHOOSE} WHERE id = ?", ident)
        return runs.of_row(found[0]) if found else None

    def alike(self, wanted: str) -> list[str]:
        """Return the ids of the runs that a person may mean by ``wanted``."""
        ids = self.rows("SELECT id FROM runs WHERE id = ?1 OR instr(id, ?1) ORDER BY id DESC LIMIT 1000", wanted)
        return runs.found(wanted, [row[0] for row in ids])

    def ended(self, states: tuple[str, ...]) -> list[tuple[str, float]]:
        """Return id and end of the runs in these states."""
        marks = ", ".join("?" * len(states))
        found = self.rows(f"SELECT id, coalesce(ended, submitted) FROM runs WHERE state IN ({marks})", *states)
        return [(row[0], row[1]) for row in found]

    # ---- outcomes

    def outcomes(self, run: str, after: int = -1, until: int = 1 << 62, limit: int = 1000) -> list[KeptFrame]:
        """Return kept messages of a run with their numbers, those above ``after`` up to ``until``."""
        found = self.rows(
            "SELECT number, frame FROM outcomes WHERE run = ? AND number > ? AND number <= ? ORDER BY number LIMIT ?",
            run, after, until, limit,
        )  # fmt: skip
        return list(map(KeptFrame._make, found))

    def last_of(self, run: str, first: int, last: int) -> tuple[int | None, int]:
        """Return the greatest number of a run's messages from ``first`` to ``last``, and the bytes in them."""
        found = self.rows(
            "SELECT max(number), coalesce(sum(length(frame)), 0) FROM outcomes"
            " WHERE run = ? AND number BETWEEN ? AND ?", run, first, last,
        )  # fmt: skip
        return found[0][0], found[0][1]

    def batches(self, run: str, first: int = 0, last: int = 1 << 62) -> list[BatchRow]:
        """Return batches of a run: its number, its jobs, their function, and whether it is over."""
        found = self.rows(
            "SELECT ident, jobs, function, ended FROM batches"
            " WHERE run = ? AND ident >= ? AND ident < ? ORDER BY ident", run, first, last,
        )  # fmt: skip
        return list(map(BatchRow._make, found))

    def sessions(self, states: tuple[str, ...]) -> list[SessionRow]:
        """Return the clients of runs in these states: session, run, hash of the key, and whether it was gone."""
        marks = ", ".join("?" * len(states))
        found = self.rows(
            f"SELECT session, run, s.secret, gone FROM sessions s JOIN runs r ON r.id = run WHERE r.state IN ({marks})",
            *states,
        )
        return list(map(SessionRow._make, found))

    def bytes_kept(self) -> int:
        """Return how many bytes of outcomes wait."""
        found: int = self.rows("SELECT coalesce(sum(length(frame)), 0) FROM outcomes")[0][0]
        return found

    # ---- nodes

    def nodes(self) -> list[WorkerRow]:
        """Return every worker that ever was in; times are epoch seconds."""
        found = self.rows(f"SELECT {', '.join(NODE_COLUMNS)} FROM nodes ORDER BY name")
        return [cast("WorkerRow", dict(zip(NODE_COLUMNS, row, strict=True))) for row in found]

    def events(self, name: str, limit: int = 100) -> list[WorkerEvent]:
        """Return what happened to a worker, the latest first."""
        found = self.rows(
            "SELECT at, event, text FROM node_events WHERE name = ? ORDER BY rowid DESC LIMIT ?", name, limit
        )
        return [WorkerEvent(at=row[0], event=row[1], text=row[2]) for row in found]

    def health(self, name: str) -> list[dict[str, Any]]:
        """Return how a worker was over time, the earliest first: ``at`` (epoch seconds) and what was measured."""
        found = self.rows("SELECT at, data FROM node_health WHERE name = ? ORDER BY at", name)
        return [{"at": row[0]} | kept(row[1]) for row in found]

    # ---- the page's story

    def totals(self) -> dict[str, dict[str, Any]]:
        """Return what every run did in numbers, by the run's id."""
        found = self.rows("SELECT run, data FROM story WHERE kind = ? AND bucket = 0", TOTALS)
        return {run: json.loads(data) for run, data in found}

    def story(self, run: str, kind: str, first: int = 0, last: int = 1 << 62) -> list[tuple[int, Any]]:
        """Return the pieces of a run of one kind, with their buckets, in order."""
        found = self.rows(
            "SELECT bucket, data FROM story WHERE run = ? AND kind = ? AND bucket BETWEEN ? AND ? ORDER BY bucket",
            run, kind, first, last,
        )  # fmt: skip
        return [(row[0], kept(row[1])) for row in found]


def kept(text: str) -> Any:
    """Read a piece that was kept; what an earlier release kept that is no number is none."""
    return json.loads(text, parse_constant=lambda _: None, parse_float=finite)


def finite(text: str) -> float | None:
    """Read a number; None for one that is not finite, or so great that a sum of it would not be."""
    found = float(text)
    return found if abs(found) <= GREATEST else None
