"""The one writer of the database: a thread that groups changes, and goes on when the disk does not.

Changes are taken at once and written together, at most every :data:`GROUP_S`; nothing is written while nothing
changes, for memory cards wear out.  :meth:`Writer.flush` writes now, and reports when it is safe on the disk.
A database that cannot be written (full, read-only, damaged) is *trouble*: said once, tried again every
:data:`RETRY_S`, and nothing else stops for it.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sqlite3
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from octapi.errors import StateError
from octapi.store import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

#: changes wait this long for others, in seconds
GROUP_S = 3.0
#: how often a database that could not be written is tried again, in seconds
RETRY_S = 5.0
#: with half as many changes they are written early; the most that wait while the database cannot be written, and the
#: most bytes in them: then the oldest are dropped that need not last, and whoever has others to write keeps them
MOST_WAITING = 20_000
MOST_BYTES = 64 << 20

Change = tuple[str, tuple[Any, ...]]


class Writer:
    """Takes changes from any thread.  ``on_trouble(text)`` is called on the writer's thread; an empty text ends it."""

    def __init__(
        self,
        path: Path,
        on_trouble: Callable[[str], None] = lambda _: None,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.on_trouble = on_trouble
        self.trouble = ""
        self.dropped = 0
        #: changes that could never be written, and how often the thread had to be started again
        self.spoilt = 0
        self.restarts = 0
        self._log = log
        self._changes: dict[Hashable, Change] = {}
        #: the names of those that may be dropped, the oldest first
        self._loose: dict[Hashable, None] = {}
        self._bytes = 0
        self._number = itertools.count()
        self._promises: list[Future[None]] = []
        self._condition = threading.Condition()
        self._is_due = False
        self._is_closing = False
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="octapi-store", daemon=True)
        self._thread.start()

    # ---- from any thread

    def put(
        self,
        statement: str,
        values: tuple[Any, ...],
        key: Hashable = None,
        *,
        lazily: bool = False,
        is_lasting: bool = False,
    ) -> None:
        """Take a change: SQL with its values.  A later one with the same ``key`` replaces it while it waits.

        One that is taken ``lazily`` is written with the next that is not.  One that ``is_lasting`` is never dropped:
        who has many of them looks at :attr:`is_full` first.
        """
        with self._condition:
            name = key if key is not None else next(self._number)
            self._forget(name)
            self._changes[name] = (statement, values)
            self._bytes += weight(values)
            if not is_lasting:
                self._loose[name] = None
            while self.is_full and self._loose:
                self._forget(next(iter(self._loose)))
                self.dropped += 1
            self._is_due = self._is_due or not lazily or self._is_much
            if self._is_due:
                self._condition.notify()

    @property
    def is_full(self) -> bool:
        """Say whether as much waits as may: the database cannot be written, or not as fast as changes come."""
        return self._bytes > MOST_BYTES or (bool(self.trouble) and len(self._changes) > MOST_WAITING)

    @property
    def _is_much(self) -> bool:
        return len(self._changes) > MOST_WAITING // 2 or self._bytes > MOST_BYTES // 2

    def _forget(self, name: Hashable) -> None:
        old = self._changes.pop(name, None)
        self._loose.pop(name, None)
        if old is not None:
            self._bytes -= weight(old[1])

    def flush(self) -> Future[None]:
        """Write everything now.  The future ends when it is safe, or with :exc:`StateError` when it cannot be."""
        promise: Future[None] = Future()
        with self._condition:
            self._promises.append(promise)
            self._condition.notify()
        return promise

    def close(self, patience_s: float = 10.0) -> None:
        """Write everything, and end."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        self._thread.join(patience_s)

    # ---- the thread

    def _run(self) -> None:
        """Write until the end; whatever goes wrong with one group of changes, the thread goes on with the next."""
        while True:
            try:
                return self._write_all()
            except Exception as error:
                self.restarts += 1
                self._log(f"the writing of the database went wrong, and goes on: {type(error).__name__}: {error}")
                time.sleep(RETRY_S if self.restarts > 10 else 0.0)

    def _write_all(self) -> None:
        self._attempt([], [])  # migrations come first, and what is wrong is said at once
        while not self._is_closing:
            with self._condition:
                self._condition.wait_for(lambda: self._is_due or self._promises or self._is_closing)
                pause = RETRY_S if self.trouble else GROUP_S
                self._condition.wait_for(
                    lambda: self._promises or self._is_closing or (not self.trouble and self._is_much),
                    pause,
                )
            self._write()
        self._write()
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()

    def _write(self) -> None:
        with self._condition:
            taken, self._changes, self._bytes = self._changes, {}, 0
            loose, self._loose = self._loose, {}
            promises, self._promises = self._promises, []
            self._is_due = False
        try:
            done = self._attempt(list(taken.values()), promises)
        except Exception as error:
            for promise in promises:
                promise.set_exception(StateError(f"{self.path} cannot be written: {error}."))
            raise
        if not done:
            with self._condition:
                later = self._changes  # one that replaces an earlier one comes last: others may be between them
                self._changes = {name: taken[name] for name in taken if name not in later} | later
                self._loose = {name: None for name in loose if name not in later} | self._loose
                self._bytes = sum(weight(values) for _, values in self._changes.values())
                self._is_due = True
        for promise in promises:
            if done:
                promise.set_result(None)
            else:
                promise.set_exception(StateError(self.trouble))

    def _attempt(self, changes: list[Change], promises: list[Future[None]]) -> bool:
        try:
            if self._connection is None:
                self._connection = open_for_writing(self.path)
            if changes or promises:
                self._count_spoilt(commit(self._connection, changes, safely=bool(promises)))
        except (sqlite3.Error, StateError, OSError) as error:
            self._reopen_later()
            self._tell(f"{self.path} cannot be written: {error}.")
            return False
        self._tell("")
        return True

    def _count_spoilt(self, number: int) -> None:
        """Say that so many changes can never be written."""
        if number:
            self.spoilt += number
            self._log(f"{number} changes with values that the database cannot hold were left out.")

    def _reopen_later(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _tell(self, text: str) -> None:
        if bool(text) != bool(self.trouble):
            self.trouble = text
            self.on_trouble(text)
        self.trouble = text


def weight(values: tuple[Any, ...]) -> int:
    """Return about how many bytes a change holds."""
    return 100 + sum(len(value) for value in values if isinstance(value, (bytes, str)))


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the database, make or migrate its tables, and return a connection in autocommit mode.

    A database that is damaged is put aside under another name first.  Raises sqlite3.Error, OSError and
    :exc:`StateError`.
    """
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) or not is_damaged(error):
            raise
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            old = path.with_name(path.name + suffix)
            old.rename(old.with_name(f"{path.name}.damaged-{int(time.time())}{suffix}"))
    return _open(path)


def is_damaged(error: sqlite3.DatabaseError) -> bool:
    """Say whether SQLite means that the file is no database."""
    return error.sqlite_errorcode in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        connection.execute("PRAGMA temp_store = MEMORY")
        schema.migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def can_hold(values: tuple[object, ...]) -> bool:
    """Say whether a database can hold these values: whole numbers of 64 bits, finite others, texts in UTF-8, bytes."""
    return all(map(is_sound, values))


def is_sound(value: object) -> bool:
    """Say whether a database can hold one value."""
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    return value is None or isinstance(value, bytes)


def commit(connection: sqlite3.Connection, changes: list[Change], *, safely: bool) -> int:
    """Write changes in one transaction, and return how many can never be written, whatever is tried: not those.

    Killing this process never loses or tears one that was committed.  When the device loses its power, the last seconds
    may be lost, unless ``safely`` waits for the disk.  Raises sqlite3.Error, having changed nothing.
    """
    connection.execute(f"PRAGMA synchronous = {'FULL' if safely else 'NORMAL'}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        spoilt = sum(not is_written(connection, change) for change in changes)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return spoilt


def is_written(connection: sqlite3.Connection, change: Change) -> bool:
    """Write one change; say whether it could be, which for a wrong value it never can."""
    statement, values = change
    if not can_hold(values):
        return False
    try:
        connection.execute(statement, values)
    except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
        return False
    return True
