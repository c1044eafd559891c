"""Batches on their way, of single jobs or of a range of items; the dispatcher treats both alike."""

from __future__ import annotations

import pickle
from array import array
from functools import partial
from typing import TYPE_CHECKING, Any

from octapi.client.item_range import MISSING, ItemRange, RawOutcome
from octapi.client.job_errors import WENT_AWAY, handling_error
from octapi.client.pending_job import PendingJob
from octapi.protocol import outcome, wire
from octapi.protocol.exits import OUT_OF_MEMORY
from octapi.protocol.records import outcomes, unusable
from octapi.telemetry.run_trace import CANCELLED, FAILED, OK

if TYPE_CHECKING:
    from octapi.client.queue import ComputationQueue
    from octapi.errors import Attempt
    from octapi.protocol.outcome import WorkerInfo
    from octapi.protocol.specs import BatchSpec

#: what waits in a queue's queue
Entry = PendingJob | ItemRange
#: outcomes that are values and nothing else
PLAIN = (outcome.VALUE, outcome.GROUP)


class JobBatch:
    """A batch of single jobs."""

    __slots__ = ("current", "heard", "ident", "queue", "pending_jobs", "worker")

    def __init__(self, ident: int, queue: ComputationQueue, pending_jobs: list[PendingJob]) -> None:
        self.ident = ident
        self.queue = queue
        self.pending_jobs = pending_jobs
        self.worker: str | None = None
        #: the job that its slot was seen to run last
        self.current = 0
        #: how many of its worker's lasting messages came
        self.heard = 0
        for index, pending_job in enumerate(pending_jobs):
            pending_job.batch = self
            pending_job.index = index

    def spec(self) -> BatchSpec:
        """Describe the batch to the link."""
        first = self.pending_jobs[0]
        form, data = wire.of_jobs([pending_job.payload for pending_job in self.pending_jobs])
        spec: BatchSpec = {
            "form": form,
            "data": data,
            "jobs": len(self.pending_jobs),
            "ids": array("Q", [pending_job.serial for pending_job in self.pending_jobs]).tobytes(),
            "worker": first.worker,
        }
        if first.code or first.files:
            spec["extra"] = [first.code, [file.row() for file in first.files]]
        return spec | precautions(first.past)

    def claim(self) -> tuple[Any, ...]:
        """Describe the batch to a master that does not know it: see :class:`octapi.protocol.client_messages.Claim`."""
        spec: BatchSpec = {"jobs": len(self.pending_jobs), "worker": self.pending_jobs[0].worker}
        return self.ident, self.queue.digest, spec, self.heard, self.worker

    def cancelled(self) -> list[int] | None:
        """Return the jobs that are to stop; None for all that are left."""
        return [pending_job.index for pending_job in self.ours() if pending_job.retries < 0]

    def begun(self, index: int, worker: WorkerInfo, now: float) -> None:
        """Tell a job that a slot has it."""
        self.current = index
        pending_job = self.pending_jobs[index]
        if not pending_job.done and pending_job.batch is self:
            pending_job.begun(worker, now)

    def take(self, records: wire.Blob, worker: WorkerInfo | None) -> tuple[int, float]:
        """Hand out the outcomes in ``records``; return how many jobs they are, and their seconds."""
        pending_jobs, recorder = self.pending_jobs, self.queue.dispatcher.recorder
        place = (worker, self.queue.computation.name)
        count, busy, fresh, failed, first, last = 0, 0.0, 0, 0, 0.0, 0.0
        for index, kind, data, started, ran, extra in outcomes(records, len(pending_jobs)):
            count += 1
            busy += ran
            pending_job = pending_jobs[index]
            if not pending_job.done and pending_job.batch is self:
                pending_job.done = True
                pending_job.batch = None
                ended = started + ran if started else 0.0
                last = ended or last
                first = first or started
                fresh += 1
                if kind or extra is not None or recorder.story.is_few:
                    get = partial(getattr, pending_job, "payload")
                    word = tell(self.queue, place, (kind, data), (started, ran), extra, get)
                    failed += word == FAILED
                    fresh -= word == CANCELLED
                pending_job.payload = b""
                try:
                    pending_job.resolve(kind, data, started, ended, worker, extra)
                except BaseException as error:  # the next ones get theirs
                    self.queue.dispatcher.complain(error, f"an outcome of {place[1]}")
                    pending_job.broken(handling_error(error, place[1]))
        self.queue.dispatcher.run_safely(recorder.batch, place, (first, last), fresh, failed, busy)
        return count, busy

    def payload(self, index: int) -> bytes | None:
        """Return the arguments of a job that has no outcome; None if it has one."""
        pending_job = self.pending_jobs[index]
        return None if pending_job.done else pending_job.payload

    def settle(
        self, index: int, kind: int, data: wire.Buffer, started: float, ended: float, worker: WorkerInfo | None
    ) -> None:
        """Give one job its outcome."""
        self.pending_jobs[index].settle_once(kind, data, started, ended, worker)

    def ours(self) -> list[PendingJob]:
        """Return the jobs that have no outcome and are still this batch's."""
        return [pending_job for pending_job in self.pending_jobs if pending_job.batch is self and not pending_job.done]

    def give_back(self, index: int) -> list[Entry]:
        """Let go of the jobs from ``index`` on; return those that are to run elsewhere."""
        left = [
            pending_job
            for pending_job in self.pending_jobs[index:]
            if pending_job.batch is self and not pending_job.done
        ]
        again: list[Entry] = []
        for pending_job in left:
            pending_job.batch = None
            if pending_job.retries < 0:  # it was cancelled
                pending_job.settle_once(outcome.CANCELLED)
                self.queue.dispatcher.recorder.story.count("cancelled")
            else:
                again.append(pending_job)
        return again

    def died(self, index: int, attempt: Attempt, workers: int, others: int) -> Entry | None:
        """Count an attempt that killed its process: return the job if it may run again, on one of ``others``."""
        pending_job = self.pending_jobs[index]
        pending_job.attempts += 1
        pending_job.past += (attempt,)
        if pending_job.worker is not None or not may_try_again(pending_job, workers, others):
            return None
        pending_job.batch = None
        pending_job.again()
        return pending_job

    def lost(self, attempt: Attempt) -> tuple[list[Entry], list[int]]:
        """Count an attempt that was lost: return what may run again, and the indexes of what may not."""
        again: list[Entry] = []
        failed = []
        for pending_job in self.ours():
            pending_job.attempts += 1
            pending_job.past += (attempt,)
            if pending_job.attempts > pending_job.retries or pending_job.worker is not None:
                failed.append(pending_job.index)
            else:
                pending_job.batch = None
                pending_job.again()
                again.append(pending_job)
        return again, failed

    def count(self) -> int:
        """Return how many jobs are still this batch's."""
        return len(self.ours())

    def forbid(self) -> None:
        """Let none of its jobs start again."""
        for pending_job in self.ours():
            pending_job.retries = -1

    def past(self, index: int) -> tuple[Attempt, ...]:
        """Return what came of a job's starts."""
        return self.pending_jobs[index].past

    def most(self, index: int) -> int:
        """Return how often a job may be started."""
        return max(self.pending_jobs[index].retries, 0) + 1


class ItemBatch:
    """A batch of items of one ``map``."""

    __slots__ = ("current", "data", "ended", "heard", "ident", "jobs", "queue", "simple", "span", "worker")

    def __init__(self, ident: int, queue: ComputationQueue, span: ItemRange, packed: tuple[bool, Any]) -> None:
        self.ident = ident
        self.queue = queue
        self.span = span
        self.simple, self.data = packed
        self.worker: str | None = None
        #: the job that its slot was seen to run last
        self.current = 0
        self.heard = 0
        self.jobs = len(span)
        #: the item that killed its process, and what came of its starts
        self.ended: tuple[int, tuple[Attempt, ...]] = (-1, ())

    def spec(self) -> BatchSpec:
        """Describe the batch to the link, once: the bytes are not kept."""
        data, self.data = self.data, None
        form, packed = (wire.ITEMS, wire.blob(data)) if self.simple else wire.of_jobs(data)
        return {
            "form": form,
            "data": packed,
            "jobs": len(self.span),
            "ids": [self.span.page.number, self.span.start],
            "worker": self.span.worker,
            "grouped": True,
            **precautions(self.span.past),
        }

    def claim(self) -> tuple[Any, ...]:
        """Describe the batch to a master that does not know it: see :class:`octapi.protocol.client_messages.Claim`."""
        spec: BatchSpec = {"jobs": self.jobs, "worker": self.span.worker, "grouped": True}
        return self.ident, self.queue.digest, spec, self.heard, self.worker

    def cancelled(self) -> list[int] | None:
        """Return the items that are to stop; None for all that are left."""
        return None if self.span.retries < 0 else []

    def begun(self, index: int, worker: WorkerInfo, now: float) -> None:
        """Take note which item a slot has; items are not told."""
        self.current = index

    def take(self, records: wire.Blob, worker: WorkerInfo | None) -> tuple[int, float]:
        """Put the outcomes in ``records`` into the page; return how many items they are, and their seconds."""
        page, offset, recorder = self.span.page, self.span.start, self.queue.dispatcher.recorder
        place = (worker, self.queue.computation.name)
        count, busy, failed, cancelled, first, last = 0, 0.0, 0, 0, 0.0, 0.0
        left = page.left
        for index, kind, data, started, ran, extra in outcomes(records, self.jobs):
            busy += ran
            first, last = first or started, started + ran if started else last
            values = pickle.loads(data) if kind == outcome.GROUP else None
            jobs = 1 if values is None else len(values)
            if index + jobs > self.jobs:
                raise unusable(f"{jobs} results from job {index} on, of {self.jobs}")
            count += jobs
            if (kind not in PLAIN or extra is not None or recorder.story.is_few) and self.is_open(index + jobs - 1):
                get = partial(self.payload, index)
                word = tell(self.queue, place, (kind, data), (started, ran), extra, get, jobs)
                failed += word == FAILED
                cancelled += word == CANCELLED
                if extra is not None and (extra.stdout or extra.stderr):
                    name = worker.name if worker is not None else ""
                    page.reader.printed(name, extra.texts())
            if values is not None:
                page.put_all(offset + index, values)
            else:
                page.put(offset + index, None if kind == outcome.VALUE and not data else RawOutcome(kind, data))
        fresh = left - page.left - cancelled
        self.queue.dispatcher.run_safely(recorder.batch, place, (first, last), fresh, failed, busy)
        return count, busy

    def is_open(self, index: int) -> bool:
        """Say whether an item has no outcome yet."""
        return self.span.page.values[self.span.start + index] is MISSING

    def payload(self, index: int) -> bytes | None:
        """Return the arguments of an item that has no outcome; None if it has one."""
        place = self.span.start + index
        if place >= self.span.stop or self.span.page.values[place] is not MISSING:
            return None
        return self.span.page.bytes_of(place)

    def settle(
        self, index: int, kind: int, data: wire.Buffer, started: float, ended: float, worker: WorkerInfo | None
    ) -> None:
        """Give one item its outcome."""
        self.span.page.put(self.span.start + index, RawOutcome(kind, data))

    def ours(self) -> list[ItemRange]:
        """Return what has no outcome and is still this batch's."""
        return self.span.open_pieces()

    def give_back(self, index: int) -> list[Entry]:
        """Let go of the items from ``index`` on; return those that are to run elsewhere."""
        border = min(self.span.start + index, self.span.stop)
        left = self.span.piece(border, self.span.stop).open_pieces()
        self.span.stop = border
        if self.span.retries >= 0:
            return list(left)
        for piece in left:
            self.queue.dispatcher.recorder.story.count("cancelled", len(piece))
            for place in range(piece.start, piece.stop):
                piece.page.put(place, RawOutcome(outcome.CANCELLED, b""))
        return []

    def died(self, index: int, attempt: Attempt, workers: int, others: int) -> Entry | None:
        """Count an attempt that killed its process: return the item if it may run again, on one of ``others``."""
        place = self.span.start + index
        item = self.span.piece(place, place + 1)
        item.attempts += 1
        item.past += (attempt,)
        self.ended = (index, item.past)
        return item if item.worker is None and may_try_again(item, workers, others) else None

    def lost(self, attempt: Attempt) -> tuple[list[Entry], list[int]]:
        """Count an attempt that was lost: return what may run again, and the indexes of what may not."""
        self.span.attempts += 1
        self.span.past += (attempt,)
        pieces = self.span.open_pieces()
        if self.span.attempts > self.span.retries or self.span.worker is not None:
            return [], [place - self.span.start for piece in pieces for place in range(piece.start, piece.stop)]
        return list(pieces), []

    def count(self) -> int:
        """Return how many items are still this batch's."""
        return sum(len(piece) for piece in self.ours())

    def forbid(self) -> None:
        """Let none of its items start again."""
        self.span.retries = -1

    def past(self, index: int) -> tuple[Attempt, ...]:
        """Return what came of an item's starts."""
        return self.ended[1] if self.ended[0] == index else self.span.past

    def most(self, index: int) -> int:
        """Return how often an item may be started."""
        return max(self.span.retries, 0) + 1


AnyBatch = JobBatch | ItemBatch


def tell(queue: ComputationQueue, *facts: Any) -> str:
    """Tell the story of one job; no job fails for what is told of it."""
    try:
        return queue.dispatcher.recorder.job(*facts)
    except BaseException as error:
        queue.dispatcher.complain(error, f"the story of {queue.computation.name}")
        return OK


def may_try_again(entry: Entry, workers: int, others: int) -> bool:
    """Say whether a job that killed its process may start again.

    It is tried on at most ``workers`` workers, so on one of ``others`` where it has not been; want of memory is no
    fault of the job alone, so for that it may start once more anywhere, by itself.
    """
    if entry.attempts > entry.retries:
        return False
    if is_alone(entry.past):
        return sum(attempt.cause.startswith(OUT_OF_MEMORY) for attempt in entry.past) == 1
    return others > 0 and len({attempt.worker for attempt in entry.past}) < workers


def is_alone(past: tuple[Attempt, ...]) -> bool:
    """Say whether a job runs alone on the worker with most memory next time."""
    return bool(past) and past[-1].cause.startswith(OUT_OF_MEMORY)


def precautions(past: tuple[Attempt, ...]) -> BatchSpec:
    """Return what a batch of one job must say of its earlier starts."""
    if is_alone(past):
        return {"alone": True}
    been = {attempt.worker for attempt in past if attempt.cause != WENT_AWAY}
    return {"avoid": sorted(been)} if been else {}
