"""Never wait in silence: what a script waits for, said on stderr."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octapi.dispatch.core import Core
    from octapi.dispatch.flight import AnyFlight
    from octapi.dispatch.lane import Lane

#: how long a wait may last before it is told, and how often it is told again, in seconds
FIRST_S = 2.0
AGAIN_S = 5.0


def reason(lane: Lane, capacity: int, workers: int) -> str | None:
    """Say why a lane's jobs cannot start; None when they can, or when there are none."""
    waiting = len(lane.queue) + len(lane.pinned) + sum(flight.count() for flight in stuck(lane))
    if not waiting:
        return None
    jobs = f"{waiting:,} job{'s' if waiting != 1 else ''} of {lane.computation.name}"
    if not workers:
        return f"{jobs} wait: no worker has joined the cluster yet. Start one with 'octapi worker'."
    if not capacity:
        wanted = lane.wanted or "Check the nodes that the script names."
        return f"{jobs} wait: none of the {workers} workers may run them. {wanted}"
    if stuck(lane):
        if lane.computation.setup and not lane.ready_on:
            return f"{jobs} wait for {lane.computation.setup}() to end on the workers."
        return f"{jobs} wait: other scripts have all {capacity} slots. 'octapi jobs' lists them."
    return None


def stuck(lane: Lane) -> list[AnyFlight]:
    """Return a lane's batches if none of them has started anywhere."""
    flights = list(lane.flights.values())
    return flights if all(flight.worker is None for flight in flights) else []


class Speaker:
    """Tells on one line, which is updated in place on a terminal."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._told = 0.0
        self._open_line = False
        self.has_told = False

    def hear(self, text: str | None) -> None:
        """Take the present reason for waiting, and tell it when it is time."""
        now = time.monotonic()
        if text is None:
            if self._open_line:
                print(file=sys.stderr, flush=True)
                self._open_line = False
            self._since = None
            return
        self._since = now if self._since is None else self._since
        if now - self._since < FIRST_S or now - self._told < AGAIN_S:
            return
        self._told = now
        self.has_told = True
        line = f"octapi: {text} ({now - self._since:.0f} s)"
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
            self._open_line = True
        else:
            print(line, file=sys.stderr, flush=True)


async def speak(dispatcher: Core) -> None:
    """Say what is waited for, and tell the master how far the jobs are, for as long as the dispatcher lives."""
    speaker, reporter = Speaker(), Reporter(dispatcher)
    while True:
        await asyncio.sleep(dispatcher.pace_s)
        if dispatcher.link is None or dispatcher.is_broken or not dispatcher.link.is_connected:
            continue
        reporter.report()
        lanes = list(dispatcher.lanes.values())
        reasons = (reason(lane, dispatcher.capacity(lane), len(dispatcher.infos)) for lane in lanes)
        speaker.hear(next((text for text in reasons if text), None))


class Reporter:
    """Tells the master how far the jobs are, when that has changed."""

    def __init__(self, dispatcher: Core) -> None:
        self._dispatcher = dispatcher
        self._told: dict[str, Any] = {}

    def report(self) -> None:
        """Tell what is new."""
        link = self._dispatcher.link
        if link is None or not link.is_connected:
            return
        summary, news = self._dispatcher.summary(), self._dispatcher.teller.story.changes()
        if news is not None or summary != self._told:
            self._told = summary
            link.report(dict(summary, story=news))
