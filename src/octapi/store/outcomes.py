"""Outcomes of jobs whose client is gone, until somebody fetches them.

What is kept of a run are the messages that its clients would have got, each with a number that grows, and which batches
were on their way, so that a job that got no outcome because the master died is told as such.  ``keep_mb`` and
``keep_days`` in :class:`octapi.settings.Settings` bound it; :mod:`octapi.master.gateway.outcome_spool` sees to that.
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
        self.writer.put(
            "INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?)", (run, number, now, frame), is_lasting=True
        )

    def drop_part(self, run: str, first: int, last: int) -> None:
        """Forget what is kept of a run with numbers from ``first`` up to, but without, ``last``."""
        for statement in (
            "DELETE FROM outcomes WHERE run = ? AND number >= ? AND number < ?",
            "DELETE FROM batches WHERE run = ? AND ident >= ? AND ident < ?",
        ):
            self.writer.put(statement, (run, first, last), is_lasting=True)
        self.writer.put("PRAGMA incremental_vacuum(1000)", (), "vacuum")

    def drop(self, run: str) -> None:
        """Forget what is kept of a run: it was fetched, or is too old."""
        for table in ("outcomes", "batches", "sessions"):
            self.writer.put(f"DELETE FROM {table} WHERE run = ?", (run,), is_lasting=True)
        self.writer.put("PRAGMA incremental_vacuum(1000)", (), "vacuum")


def too_old(rows: Iterable[tuple[str, float]], now: float, keep_s: float) -> list[str]:
    """Return the runs (id, when it ended) whose outcomes have waited too long."""
    return [ident for ident, ended in rows if now - ended > keep_s]
