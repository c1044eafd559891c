"""Never wait in silence: what a script waits for, said on stderr."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from octapi.dispatch.outcome import DRAINED, DRAINING, MISSING, OK, SILENT
from octapi.dispatch.span import Span
from octapi.saying import is_terminal, say

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from octapi.dispatch.core import Core
    from octapi.dispatch.flight import AnyFlight
    from octapi.dispatch.lane import Lane
    from octapi.dispatch.outcome import WorkerInfo

#: how long a wait may last before it is told, and how often it is told again, in seconds
FIRST_S = 2.0
AGAIN_S = 5.0
#: what is larger takes a time that is worth to be told, in bytes
LARGE = 1 << 20


def reason(lane: Lane, workers: Mapping[str, WorkerInfo]) -> str | None:
    """Say why a lane's jobs cannot start on these workers; None when they can, or when there are none."""
    waiting = sum(len(entries) for entries in lane.waiting_lists()) + sum(flight.count() for flight in stuck(lane))
    if waiting and (why := reason_of_all(lane, workers)):
        return f"{jobs(waiting)} of {lane.computation.name} {why}"
    for name, count in pinned_to(lane).items():
        if name in workers and workers[name].state == OK:
            continue
        here = f"which is not there; there are: {', '.join(sorted(workers))}"
        why = f"which cannot take them: {unavailable([workers[name]], {})}" if name in workers else here
        return f"{jobs(count)} of {lane.computation.name} wait for worker {name!r}, {why}."
    if waiting and stuck(lane):
        return f"{jobs(waiting)} of {lane.computation.name} {reason_of_stuck(lane, workers)}"
    return None


def jobs(count: int) -> str:
    """Write a number of jobs."""
    return f"{count:,} job{'s' if count != 1 else ''}"


def reason_of_all(lane: Lane, workers: Mapping[str, WorkerInfo]) -> str:
    """Say why no worker at all takes a lane's jobs now; an empty text when one does."""
    if not workers:
        return "wait: no worker has joined the cluster yet. Start one with 'octapi worker'."
    usable = lane.usable(workers.values())
    if not lane.slots_of(usable):
        wanted = lane.wanted or "Check the nodes that the script names."
        return f"wait: none of the {len(workers)} workers may run them. {wanted}"
    return "" if taking(lane, usable) else f"wait: {unavailable(usable, lane.refused_on)}."


def reason_of_stuck(lane: Lane, workers: Mapping[str, WorkerInfo]) -> str:
    """Say what a lane waits for of whose batches none has started, though there are workers that take them."""
    core = lane.dispatcher
    if lane.computation.setup and not lane.ready_on:
        return f"wait for {lane.computation.setup}() to end on the workers."
    done, size = core.link.travel if core.link is not None else (0, 0)
    if size >= LARGE:
        return f"wait: what they need travels to the master ({done / 1e6:.0f} of {size / 1e6:.0f} MB)."
    with_workers = {core.placed[flight.ident] for flight in stuck(lane) if flight.ident in core.placed}
    if with_workers:
        return f"wait: {', '.join(sorted(with_workers))} got them, and loads the function and what it needs."
    pinned = pinned_to(lane)
    if pinned.total() >= sum(flight.count() for flight in stuck(lane)):
        return f"wait for a free slot of {', '.join(sorted(set(pinned)))}, where alone they may run."
    slots = lane.slots_of(taking(lane, lane.usable(workers.values())))
    if any(flight.worker is not None and flight.lane is not lane for flight in core.flights.values()):
        return f"wait: other jobs of this script have all {slots} slots."
    if core.others:
        return f"wait: other scripts have all {slots} slots. 'octapi jobs' lists them."
    return "wait: slots are being started for them, or load their function and what it needs."


def taking(lane: Lane, usable: Iterable[WorkerInfo]) -> list[WorkerInfo]:
    """Return those workers that take a lane's batches now."""
    return [worker for worker in usable if worker.state == OK and worker.name not in lane.refused_on]


def unavailable(workers: Collection[WorkerInfo], refused_on: Collection[str]) -> str:
    """Say why each of these workers takes no batches."""
    silent = [worker.name for worker in workers if worker.state == SILENT]
    drained = [worker.name for worker in workers if worker.state in (DRAINING, DRAINED)]
    refused = [worker.name for worker in workers if worker.state == OK and worker.name in refused_on]
    missing = [worker.name for worker in workers if worker.state == MISSING]
    parts = []
    if missing:
        parts.append(f"{', '.join(missing)} {'has' if len(missing) == 1 else 'have'} not come back yet")
    if drained:
        resume = f"'octapi nodes resume {drained[0]}' lets {'it' if len(drained) == 1 else 'the first'} take jobs again"
        parts.append(f"{', '.join(drained)} {'is' if len(drained) == 1 else 'are'} drained ({resume})")
    if silent:
        parts.append(f"{', '.join(silent)} {'gives' if len(silent) == 1 else 'give'} no sign of life")
    if refused:
        parts.append(f"{', '.join(refused)} cannot run them")
    return "; ".join(parts) or f"{', '.join(worker.name for worker in workers)} cannot take them now"


def pinned_to(lane: Lane) -> Counter[str]:
    """Return the workers that jobs wait for which may run nowhere else, and how many jobs do."""
    flying = (flight.ours() for flight in lane.flights.values() if flight.worker is None)
    found = Counter[str]()
    for entry in itertools.chain(lane.pinned, *lane.absent.values(), *flying):
        if entry.worker:
            found[entry.worker] += len(entry) if isinstance(entry, Span) else 1
    return found


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
                say("")
                self._open_line = False
            self._since = None
            return
        self._since = now if self._since is None else self._since
        if now - self._since < FIRST_S or now - self._told < AGAIN_S:
            return
        self._told = now
        self.has_told = True
        line = f"octapi: {text} ({now - self._since:.0f} s)"
        if is_terminal():
            say(f"\r\x1b[K{line}", end="")
            self._open_line = True
        else:
            say(line)


async def speak(dispatcher: Core) -> None:
    """Say what is waited for, and tell the master how far the jobs are, for as long as the dispatcher lives."""
    speaker, reporter = Speaker(), Reporter(dispatcher)
    while True:
        await asyncio.sleep(dispatcher.pace_s)
        dispatcher.run_safely(speak_once, dispatcher, speaker, reporter)


def speak_once(dispatcher: Core, speaker: Speaker, reporter: Reporter) -> None:
    """Say what is waited for just now, and tell the master."""
    if dispatcher.link is None or dispatcher.is_broken or not dispatcher.link.is_connected:
        return
    reporter.report()
    lanes = list(dispatcher.lanes.values())
    reasons = (reason(lane, dispatcher.infos) for lane in lanes)
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
