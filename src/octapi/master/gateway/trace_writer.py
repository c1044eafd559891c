"""Writes stories of runs into the master's database, in pieces that fit, now and then and when a run is over."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from octapi.telemetry.trace_pieces import pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.master.gateway.registry import RunRegistry
    from octapi.telemetry.run_trace import RunTrace

log = logging.getLogger("octapi.master.gateway")

#: how often the story of a run that goes on is written, in seconds
EVERY_S: Final = 20.0


class TraceWriter:
    """Keeps the stories of all runs.  ``clock`` counts seconds."""

    def __init__(self, registry: RunRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
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
                    self._registry.story.tell(run, kind, number, data)
                except (ValueError, TypeError) as error:
                    log.warning(f"a part of what run {run} did is not kept: {error}.")
        self._told[run] = new
