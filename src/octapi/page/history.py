"""Runs of days past, read from the master's database while nobody but its one writer writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from octapi.errors import StateError
from octapi.page.model import Run
from octapi.store.reader import TOTALS, Reader
from octapi.telemetry.run_trace import RunTrace
from octapi.telemetry.trace_pieces import ROWS, whole
from octapi.telemetry.view import strain

if TYPE_CHECKING:
    from pathlib import Path

    from octapi.store.runs import Run as Kept

MOST: Final = 2000


class History:
    """Reads one database, in threads, because a disk may be slow."""

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)

    async def runs(self, words: str = "") -> list[dict[str, Any]]:
        """Return runs, the latest first, without their stories; none while the database cannot be read."""
        return await asyncio.to_thread(self._runs, words)

    def _runs(self, words: str) -> list[dict[str, Any]]:
        try:
            kept = self._reader.runs(MOST, words=words)
            known = self._reader.totals()
        except StateError:
            return []
        return [row_of(run, told(known.get(run.id))) for run in kept]

    async def run(self, ident: str) -> dict[str, Any] | None:
        """Return one run with its story; None if there is none."""
        return await asyncio.to_thread(self._run, ident)

    def _run(self, ident: str) -> dict[str, Any] | None:
        try:
            kept = self._reader.run(ident)
            parts = {kind: [data for _, data in self._reader.story(ident, kind)] for kind in (TOTALS, *ROWS)}
        except StateError:
            return None
        if kept is None:
            return None
        story = told(whole(parts))
        return row_of(kept, story) | {"story": story.plain()}

    async def courses(self, names: list[str], first: float, last: float) -> dict[str, list[list[float | None]]]:
        """Return load and used memory in percent of devices over a time, as it was written down."""
        return await asyncio.to_thread(self._courses, names, first, last)

    def _courses(self, names: list[str], first: float, last: float) -> dict[str, list[list[float | None]]]:
        try:
            memory = {row["name"]: row["memory"] for row in self._reader.nodes()}
            found = {name: self._reader.health(name) for name in names}
        except StateError:
            return {}
        return {
            name: [[row["at"], *strain(row, memory.get(name, 0))] for row in rows if first <= row["at"] <= last]
            for name, rows in found.items()
        }

    async def health(self, name: str) -> dict[str, Any]:
        """Return how a device was over time, and what happened to it."""
        return await asyncio.to_thread(self._health, name)

    def _health(self, name: str) -> dict[str, Any]:
        try:
            return {"health": self._reader.health(name), "events": self._reader.events(name)}
        except StateError:
            return {"health": [], "events": []}


def told(plain: dict[str, Any] | None) -> RunTrace:
    """Return a story as it was kept; totals alone make one without lists."""
    story = RunTrace()
    if plain is not None:
        story.merge({kind: [] for kind in ROWS} | plain | {"anew": True})
    return story


def row_of(kept: Kept, story: RunTrace) -> dict[str, Any]:
    """Return a run for people: the same row as of a run that goes on."""
    run = Run()
    run.story = story
    run.summary = {"run": kept.id, "script": kept.script, "user": kept.user, "host": kept.host, "since": kept.submitted}
    run.summary |= {"ended": kept.ended, "functions": list(kept.functions), "slots": kept.slots, "state": kept.state}
    run.summary |= {"waiting": kept.waiting, "running": kept.running, "is_detached": kept.state == "gone"}
    if not story.done and not story.failed:
        story.done, story.failed = kept.done, kept.failed
    return run.row(kept.ended or kept.submitted)
