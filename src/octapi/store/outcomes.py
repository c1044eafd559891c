"""Outcomes of jobs whose client is gone, until somebody fetches them.

What is kept of a run are the messages that its client would have got, each with a number that grows, and which batches
were on their way, so that a job that got no outcome because the master died is told as such.  Both are bounded: see
:func:`room`, and ``keep_mb`` and ``keep_days`` in :class:`octapi.settings.Settings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from octapi.store.writer import Writer


class Outcomes:
    """Writes outcomes.  Call :meth:`octapi.store.writer.Writer.flush` before anybody is told that they are safe."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def keep(self, run: str, number: int, frame: bytes, now: float) -> None:
        """Keep one message of a run; ``number`` orders them, and the same number is the same message."""
        self.writer.put("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?)", (run, number, now, frame))

    def expect(self, run: str, batches: Iterable[tuple[int, int, str]]) -> None:
        """Note the batches of a run that are on their way: number of the batch, of its jobs, and their function."""
        for ident, jobs, function in batches:
            self.writer.put("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?)", (run, ident, jobs, function))

    def settled(self, run: str, ident: int) -> None:
        """A batch is over: all that comes of it is kept."""
        self.writer.put("DELETE FROM batches WHERE run = ? AND ident = ?", (run, ident))

    def drop(self, run: str) -> None:
        """Forget what is kept of a run: it was fetched, or is too old."""
        for statement in ("DELETE FROM outcomes WHERE run = ?", "DELETE FROM batches WHERE run = ?"):
            self.writer.put(statement, (run,))
        self.writer.put("PRAGMA incremental_vacuum(1000)", (), "vacuum")


def room(used: int, limit: int, size: int) -> bool:
    """Say whether ``size`` more bytes may be kept when ``used`` are already."""
    return used + size <= limit


def too_old(rows: Iterable[tuple[str, float]], now: float, keep_s: float) -> list[str]:
    """Return the runs (id, when it ended) whose outcomes have waited too long."""
    return [ident for ident, ended in rows if now - ended > keep_s]
