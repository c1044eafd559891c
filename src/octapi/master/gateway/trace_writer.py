"""Writes stories of runs into the master's database, in pieces that fit, now and then and when a run is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from octapi.store.trace_table import PIECE_LIMIT, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.master.gateway.registry import RunRegistry
    from octapi.telemetry.run_trace import RunTrace

#: how often the story of a run that goes on is written, in seconds
EVERY_S: Final = 20.0
#: the most rows of a list in one piece
ROWS: Final = {"workers": 1000, "functions": 1000, "buckets": 3000, "causes": 10, "pieces": 1000, "output": 200}
TOTALS: Final = "totals"


def pieces(plain: dict[str, Any]) -> dict[tuple[str, int], Any]:
    """Cut a story into pieces, by kind and number."""
    found: dict[tuple[str, int], Any] = {
        (TOTALS, 0): {key: value for key, value in plain.items() if not isinstance(value, list)}
    }
    for kind, most in ROWS.items():
        found |= {(kind, number): rows for number, rows in enumerate(cut(plain[kind], most))}
    return found


def cut(rows: list[Any], most: int) -> list[list[Any]]:
    """Cut rows into parts of at most ``most``, and smaller ones where their texts are long."""
    if len(rows) > most:
        starts = range(0, len(rows), most)
        return [part for start in starts for part in cut(rows[start : start + most], most)]
    if len(rows) > 1 and len(written(rows).encode(errors="replace")) > PIECE_LIMIT:
        return cut(rows, (len(rows) + 1) // 2)
    return [rows] if rows else []


def whole(parts: dict[str, list[Any]]) -> dict[str, Any] | None:
    """Put the pieces of each kind, in order, together again; None if there are none."""
    if not parts.get(TOTALS):
        return None
    lists = {kind: [row for piece in parts.get(kind, ()) for row in piece] for kind in ROWS}
    return dict(parts[TOTALS][0], **lists)


class TraceWriter:
    """Keeps the stories of all runs.  ``clock`` counts seconds."""

    def __init__(self, book: RunRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._book = book
        self._clock = clock
        self._open: dict[str, tuple[RunTrace, float]] = {}
        self._told: dict[str, dict[tuple[str, int], Any]] = {}

    def take(self, run: str, story: RunTrace | None) -> None:
        """A story has news: write it if it is time."""
        if story is None:
            return
        _, written = self._open.get(run, (story, self._clock()))
        if self._clock() - written >= EVERY_S:
            self._write(run, story)
            written = self._clock()
        self._open[run] = (story, written)

    def close(self, run: str) -> None:
        """A run is over: write the rest of its story."""
        story, _ = self._open.pop(run, (None, 0.0))
        if story is not None:
            self._write(run, story)
        self._told.pop(run, None)

    def close_all(self) -> None:
        """Write all that is left."""
        for run in list(self._open):
            self.close(run)

    def _write(self, run: str, story: RunTrace) -> None:
        """Write those pieces that have changed; pieces of an earlier writing that are no more become empty.

        A piece that cannot be kept is left out: no run may end for what is told of it.
        """
        new, old = pieces(story.plain()), self._told.get(run, {})
        for kind, number in old.keys() - new.keys():
            new[kind, number] = []
        for (kind, number), data in new.items():
            if old.get((kind, number)) != data:
                try:
                    self._book.story.tell(run, kind, number, data)
                except (ValueError, TypeError) as error:
                    self._book.say(f"a part of what run {run} did is not kept: {error}.")
        self._told[run] = new
