"""The tables, and the steps from each version of them to the next.

A step is never changed once it was released; new ones are added at the end.  ``PRAGMA user_version`` counts those that
a database has behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from octapi.errors import StateError

if TYPE_CHECKING:
    import sqlite3

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, script TEXT NOT NULL, arguments TEXT NOT NULL, kind TEXT NOT NULL,
            state TEXT NOT NULL, user TEXT NOT NULL, host TEXT NOT NULL, owner TEXT NOT NULL, secret TEXT NOT NULL,
            release TEXT NOT NULL, python TEXT NOT NULL, submitted REAL NOT NULL, started REAL, ended REAL,
            waiting INTEGER NOT NULL, running INTEGER NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL,
            slots INTEGER NOT NULL, functions TEXT NOT NULL, restartable INTEGER NOT NULL, restarts INTEGER NOT NULL,
            exit_code INTEGER, error TEXT NOT NULL, kept INTEGER NOT NULL, dropped INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX runs_by_state ON runs (state)",
        """CREATE TABLE batches (
            run TEXT NOT NULL, ident INTEGER NOT NULL, jobs INTEGER NOT NULL, function TEXT NOT NULL,
            PRIMARY KEY (run, ident)
        ) WITHOUT ROWID""",
        """CREATE TABLE outcomes (
            run TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL, frame BLOB NOT NULL,
            PRIMARY KEY (run, number)
        )""",
        """CREATE TABLE nodes (
            name TEXT PRIMARY KEY, state TEXT NOT NULL, address TEXT NOT NULL, host TEXT NOT NULL,
            slots INTEGER NOT NULL, platform TEXT NOT NULL, python TEXT NOT NULL, release TEXT NOT NULL,
            memory INTEGER NOT NULL, first_seen REAL NOT NULL, joined REAL NOT NULL, last_seen REAL NOT NULL,
            joins INTEGER NOT NULL, deaths INTEGER NOT NULL, reason TEXT NOT NULL
        ) WITHOUT ROWID""",
        "CREATE TABLE node_events (name TEXT NOT NULL, at REAL NOT NULL, event TEXT NOT NULL, text TEXT NOT NULL)",
        "CREATE INDEX node_events_by_name ON node_events (name, at)",
        """CREATE TABLE node_health (
            name TEXT NOT NULL, at INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (name, at)
        ) WITHOUT ROWID""",
        """CREATE TABLE story (
            run TEXT NOT NULL, kind TEXT NOT NULL, bucket INTEGER NOT NULL, data TEXT NOT NULL,
            PRIMARY KEY (run, kind, bucket)
        ) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE batches ADD COLUMN ended INTEGER NOT NULL DEFAULT 0",
        """CREATE TABLE sessions (
            session TEXT PRIMARY KEY, run TEXT NOT NULL, secret TEXT NOT NULL, at REAL NOT NULL, gone INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX sessions_by_run ON sessions (run)",
    ),
    # jobs that are done were counted with those that failed
    ("UPDATE runs SET done = max(done - failed, 0)",),
)


def version_of(connection: sqlite3.Connection) -> int:
    """Return how many steps a database has behind it."""
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def migrate(connection: sqlite3.Connection, steps: tuple[tuple[str, ...], ...] = STEPS) -> None:
    """Bring a database to this release's version, each step whole or not at all.

    The connection must be in autocommit mode (``isolation_level=None``).  Raises :exc:`StateError` for a database of a
    later release, and sqlite3.Error.
    """
    version = version_of(connection)
    if version > len(steps):
        raise StateError(
            f"it was written by a later release of OctaPi (version {version}, this one knows {len(steps)}). "
            "Install that release, or set OCTAPI_STATE to another directory"
        )
    for number in range(version, len(steps)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in steps[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
