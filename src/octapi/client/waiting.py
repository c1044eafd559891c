"""Never wait in silence: what a script waits for, said on stderr."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from octapi.client.item_range import ItemRange
from octapi.client.link import DASK
from octapi.protocol.outcome import DRAINED, DRAINING, MISSING, OK, SILENT
from octapi.text.back_off import FIRST_S, BackOff, cause_of
from octapi.text.stderr import is_terminal, say

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from octapi.client.batch import AnyBatch
    from octapi.client.core import Core
    from octapi.client.queue import ComputationQueue
    from octapi.protocol.outcome import WorkerInfo

#: what is larger takes a time that is worth to be told, in bytes
LARGE = 1 << 20
NO_WORKER = "wait: no worker has joined the cluster yet. Start one with 'octapi worker'."
NO_DASK_WORKER = "wait: the cluster of Dask has no worker. Scale it up, or start one with 'dask worker'."


def reason(queue: ComputationQueue, workers: Mapping[str, WorkerInfo]) -> str | None:
    """Say why a queue's jobs cannot start on these workers; None when they can, or when there are none."""
    waiting = sum(len(entries) for entries in queue.waiting_lists()) + sum(batch.count() for batch in stuck(queue))
    if waiting and (why := reason_of_all(queue, workers)):
        return f"{jobs(waiting)} of {queue.computation.name} {why}"
    for name, count in pinned_to(queue).items():
        if name in workers and workers[name].state == OK:
            continue
        here = f"which is not there; there are: {', '.join(sorted(workers))}"
        why = f"which cannot take them: {unavailable([workers[name]], {})}" if name in workers else here
        return f"{jobs(count)} of {queue.computation.name} wait for worker {name!r}, {why}."
    if waiting and stuck(queue):
        return f"{jobs(waiting)} of {queue.computation.name} {reason_of_stuck(queue, workers)}"
    return None


def jobs(count: int) -> str:
    """Write a number of jobs."""
    return f"{count:,} job{'s' if count != 1 else ''}"


def reason_of_all(queue: ComputationQueue, workers: Mapping[str, WorkerInfo]) -> str:
    """Say why no worker at all takes a queue's jobs now; an empty text when one does."""
    if not workers:
        link = queue.dispatcher.link
        return NO_DASK_WORKER if link is not None and link.kind == DASK else NO_WORKER
    usable = queue.usable(workers.values())
    if not queue.slots_of(usable):
        wanted = queue.wanted or "Check the nodes that the script names."
        return f"wait: none of the {len(workers)} workers may run them. {wanted}"
    return "" if taking(queue, usable) else f"wait: {unavailable(usable, queue.refused_on)}."


def reason_of_stuck(queue: ComputationQueue, workers: Mapping[str, WorkerInfo]) -> str:
    """Say what a queue waits for of whose batches none has started, though there are workers that take them."""
    core = queue.dispatcher
    if queue.computation.setup and not queue.ready_on:
        return f"wait for {queue.computation.setup}() to end on the workers."
    done, size = core.link.travel if core.link is not None else (0, 0)
    if size >= LARGE:
        return f"wait: what they need travels to the master ({done / 1e6:.0f} of {size / 1e6:.0f} MB)."
    with_workers = {core.placed[batch.ident] for batch in stuck(queue) if batch.ident in core.placed}
    if with_workers:
        return f"wait: {', '.join(sorted(with_workers))} got them, and loads the function and what it needs."
    pinned = pinned_to(queue)
    if pinned.total() >= sum(batch.count() for batch in stuck(queue)):
        return f"wait for a free slot of {', '.join(sorted(set(pinned)))}, where alone they may run."
    slots = queue.slots_of(taking(queue, queue.usable(workers.values())))
    if any(batch.worker is not None and batch.queue is not queue for batch in core.batches.values()):
        return f"wait: other jobs of this script have all {slots} slots."
    if core.others:
        return f"wait: other scripts have all {slots} slots. 'octapi jobs' lists them."
    return "wait: slots are being started for them, or load their function and what it needs."


def taking(queue: ComputationQueue, usable: Iterable[WorkerInfo]) -> list[WorkerInfo]:
    """Return those workers that take a queue's batches now."""
    return [worker for worker in usable if worker.state == OK and worker.name not in queue.refused_on]


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


def pinned_to(queue: ComputationQueue) -> Counter[str]:
    """Return the workers that jobs wait for which may run nowhere else, and how many jobs do."""
    flying = (batch.ours() for batch in queue.batches.values() if batch.worker is None)
    found = Counter[str]()
    for entry in itertools.chain(queue.pinned, *queue.backlog.absent.values(), *flying):
        if entry.worker:
            found[entry.worker] += len(entry) if isinstance(entry, ItemRange) else 1
    return found


def stuck(queue: ComputationQueue) -> list[AnyBatch]:
    """Return a queue's batches if none of them has started anywhere."""
    batches = list(queue.batches.values())
    return batches if all(batch.worker is None for batch in batches) else []


class StatusLine:
    """Tells on one line, which is updated in place on a terminal that is wide enough."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._again = BackOff()
        self._open_line = False
        self.has_told = False

    def hear(self, text: str | None) -> None:
        """Take the present reason for waiting, and tell it when it is time."""
        now = time.monotonic()
        if text is None:
            self._end_line()
            self._since = None
            return
        self._since = now if self._since is None else self._since
        if now - self._since < FIRST_S:
            return
        line = f"octapi: {text} ({now - self._since:.0f} s)"
        in_place = is_terminal() and len(line) < shutil.get_terminal_size().columns
        if self._again.is_due(cause_of(text), now, in_place):
            self._tell(line, in_place)

    def _tell(self, line: str, in_place: bool) -> None:
        self.has_told = True
        if in_place:
            say(f"\r\x1b[K{line}", end="")
            self._open_line = True
        else:
            self._end_line()
            say(line)

    def _end_line(self) -> None:
        if self._open_line:
            say("")
            self._open_line = False


async def speak(dispatcher: Core) -> None:
    """Say what is waited for, and tell the master how far the jobs are, for as long as the dispatcher lives."""
    speaker, reporter = StatusLine(), Reporter(dispatcher)
    while True:
        await asyncio.sleep(dispatcher.pace_s)
        dispatcher.run_safely(speak_once, dispatcher, speaker, reporter)


def speak_once(dispatcher: Core, speaker: StatusLine, reporter: Reporter) -> None:
    """Say what is waited for just now, and tell the master."""
    if dispatcher.link is None or dispatcher.is_broken or not dispatcher.link.is_connected:
        return
    reporter.report()
    queues = list(dispatcher.queues.values())
    reasons = (reason(queue, dispatcher.infos) for queue in queues)
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
        summary, news = self._dispatcher.summary(), self._dispatcher.recorder.story.changes()
        if news is not None or summary != self._told:
            self._told = summary
            link.report(dict(summary, story=news))
