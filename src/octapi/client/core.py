"""The dispatcher's rules: which batch goes out, and what an agent's message means for its jobs.

    Queue.submit ──> queue ──pump──> link ──> agents ──> slots
    Pending job.resolve <── records <── message <── link

Guarantees: every pending job is resolved exactly once; only the dispatcher starts attempts; a batch's
number is never used again, so a late answer to an earlier attempt is recognised and dropped.
No thread and no input or output here: everything runs on the thread of the caller.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVarTuple

from octapi.client.batch import JobBatch
from octapi.client.item_range import ItemRange
from octapi.client.job_errors import (
    ENDED_WORKER,
    WENT_AWAY,
    autopsy_error,
    batch_error,
    file_error,
    lost_error,
    refused_error,
)
from octapi.client.pending_job import PendingJob
from octapi.client.queue import entry_size
from octapi.errors import Attempt, ClusterClosed, ClusterForked, JobError, ResultNotPicklable
from octapi.protocol import orders, outcome, wire
from octapi.protocol.computation import File
from octapi.protocol.exits import exit_phrase, is_own_end
from octapi.protocol.outcome import SILENT, WorkerInfo
from octapi.protocol.wire import LASTING
from octapi.telemetry.recorder import RunRecorder
from octapi.telemetry.run_trace import PACE_S
from octapi.text.stderr import say, story_of

Ts = TypeVarTuple("Ts")

if TYPE_CHECKING:
    from collections import deque

    from octapi.client.batch import AnyBatch, Entry
    from octapi.client.link import Link
    from octapi.client.queue import ComputationQueue
    from octapi.protocol.specs import ComputationFacts

#: how many different errors are said on stderr
COMPLAINTS = 100

Watcher = Callable[[str, WorkerInfo], None]


class Core:
    """The state of one client's dispatching."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.client = uuid.uuid4().hex[:12]
        self.queues: dict[str, ComputationQueue] = {}
        self.batches: dict[int, AnyBatch] = {}
        self.infos: dict[str, WorkerInfo] = {}
        #: workers that are gone, and their state before: one that was silent was lost, another ended
        self.went: dict[str, str] = {}
        self.slots = 1
        self.watchers: list[Watcher] = []
        self.is_closed = False
        self.is_broken: Exception | None = None
        self.crash_workers = 2
        #: the most that one job's arguments may take, in bytes
        self.largest = 1 << 30
        self.recorder = RunRecorder()
        #: what agents say of batches and computations, and the master of batches that are lost
        self._handlers: dict[str, Callable[..., None]] = {
            "begun": self.on_begun, "results": self.on_results, "provisional": self.on_provisional,
            "file": self.on_file, "cut": self.on_cut, "end": self.on_end, "dropped": self.on_dropped,
            "lost": self.on_lost, "ready": self.on_ready, "refused": self.on_refused, "closed": self.on_closed,
        }  # fmt: skip
        #: how often the master wants to hear of this client, in seconds
        self.pace_s = PACE_S
        #: this process was forked from the one that this belongs to
        self.is_forked = False
        self.pid = 0
        #: how many other scripts have jobs at the master, and which batches are with which workers, as it told last
        self.others, self.placed = 0, dict[int, str]()
        self._idents = itertools.count(1)
        self._complaints: set[str] = set()

    def check_open(self) -> None:
        """Raise :exc:`ClusterClosed` when no more jobs are taken."""
        if self.is_forked:
            raise forked_error(self.pid)
        if self.is_closed:
            raise ClusterClosed("The cluster was shut down, so it takes no more jobs. Make a new one.")

    def broken(self) -> Exception | None:
        """Return why no more jobs can run, if so."""
        return self.is_broken

    # ---- errors where none should be

    def run_safely(self, function: Callable[[*Ts], None], *args: *Ts) -> None:
        """Run ``function``; what it raises is said, and fails the jobs that it concerns."""
        try:
            function(*args)
        except BaseException as error:
            self.complain(error, getattr(function, "__qualname__", repr(function)))
            queue = next((it for it in (getattr(function, "__self__", None), *args) if hasattr(it, "stumble")), None)
            if queue is not None:
                pending_jobs = [it for it in args if isinstance(it, PendingJob)]
                queue.stumble(error, pending_jobs)

    def complain(self, error: BaseException, where: str) -> None:
        """Say an error on stderr, once."""
        text = story_of(error)
        if text not in self._complaints and len(self._complaints) < COMPLAINTS:
            self._complaints.add(text)
            say(f"octapi: an error on the dispatcher's thread ({where}); the jobs that it concerns fail:\n{text}")

    def call(self, function: Callable[[*Ts], None], *args: *Ts) -> None:
        """Run ``function`` where the state lives; here at once."""
        self.run_safely(function, *args)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Run ``function`` where the state lives after so many seconds; nobody waits for it here."""

    def call_and_wait(self, function: Callable[[*Ts], None], *args: *Ts) -> None:
        """Run ``function`` where the state lives, and return when it has run."""
        function(*args)

    # ---- queues

    def usable(self, queue: ComputationQueue) -> list[WorkerInfo]:
        """Return the workers that may run a queue's jobs."""
        return queue.usable(self.infos.values())

    def add_lane(self, queue: ComputationQueue) -> None:
        """Take a computation, and tell the link about it."""
        queue.define()

    def link_define(self, digest: str, spec: bytes, facts: ComputationFacts) -> None:
        """Tell the link about a computation."""
        if self.link is not None and not self.is_broken:
            self.link.define(digest, spec, facts)

    def tell(self, worker: str | None, order: Any) -> None:
        """Send an order (:mod:`octapi.protocol.orders`) to a worker's agent, or to all; no outcome depends on it."""
        if self.link is not None and not self.is_broken:
            self.run_safely(self.link.tell, worker, order)

    def next_ident(self) -> int:
        """Return a batch number that was never used."""
        return next(self._idents)

    def close_queue(self, queue: ComputationQueue, terminate: bool) -> None:
        """Forget a queue; what is left of its jobs ends as cancelled."""
        if terminate:
            for entry in queue.unfinished():
                if isinstance(entry, PendingJob):
                    self.cancel(queue, entry, 0.0)
        self.tell(None, orders.Forget(queue.digest))
        if not queue.batches:
            self.queues.pop(queue.digest, None)

    def cancel(self, queue: ComputationQueue, pending_job: PendingJob, grace_s: float) -> None:
        """Take a job back or stop it."""
        if pending_job.done:
            return None
        batch: JobBatch | None = pending_job.batch
        if batch is None:
            for entries in queue.waiting_lists():
                with contextlib.suppress(ValueError):
                    entries.remove(pending_job)
            pending_job.settle_once(outcome.CANCELLED)
            self.recorder.story.count("cancelled")
            return queue.rest()
        pending_job.retries = -1
        return self.tell(batch.worker, orders.Cancel(batch.ident, pending_job.index, grace_s))

    def summary(self) -> dict[str, Any]:
        """Return what people want to know: how many jobs wait, travel, are done and failed, of which functions."""
        queues = list(self.queues.values())
        waiting = sum(queue_size(entries) for queue in queues for entries in queue.waiting_lists())
        flying = sum(batch.count() for batch in list(self.batches.values()))
        names = sorted(
            {queue.computation.name for queue in queues if not queue.is_closed} | set(self.recorder.story.functions)
        )
        slots, story = sum(worker.slots for worker in self.infos.values()), self.recorder.story
        counts = {"waiting": waiting, "running": flying, "done": story.done, "failed": story.failed}
        return counts | {"functions": names, "slots": slots}

    def retell(self) -> None:
        """Tell the whole story with the next report: the master may have missed some of it."""
        self.recorder.story.retell()

    def set_pace(self, seconds: float) -> None:
        """Tell the master as often as it wants to hear; ``seconds`` between two reports."""
        self.pace_s = min(max(float(seconds), 0.2), 5.0)

    def set_others(self, others: int, placed: dict[int, str]) -> None:
        """So many other scripts have jobs at the master; these batches of this one are with workers, by number."""
        self.others, self.placed = int(others), dict(placed)

    def stop_jobs(self) -> None:
        """Cancel all jobs: somebody asked the master for it."""
        for queue in list(self.queues.values()):
            queue.cancel_entries(queue.take_waiting())
            for batch in list(queue.batches.values()):
                batch.forbid()
                self.tell(batch.worker, orders.Stop(batch.ident, 1.0))
            queue.rest()

    def stop_job(self, ident: int) -> None:
        """Cancel the job of a batch that runs now: somebody asked the master for it."""
        batch = self.batches.get(ident)
        if isinstance(batch, JobBatch):
            entry = next((pending_job for pending_job in batch.ours() if pending_job.index >= batch.current), None)
            if entry is not None:
                self.cancel(batch.queue, entry, 1.0)
        elif batch is not None:
            self.tell(batch.worker, orders.Cancel(ident, batch.current, 1.0))

    # ---- what the link reports

    def workers_changed(self, workers: dict[str, WorkerInfo]) -> None:
        """Take the workers there are now."""
        before, self.infos = self.infos, workers
        self.slots = max(1, sum(worker.slots for worker in workers.values()))
        self.went = {name: state for name, state in self.went.items() if name not in workers}
        for name in before.keys() - workers.keys():
            self.went[name] = before[name].state
            self._notify("left", before[name])
        for name, worker in workers.items():
            if name not in before:
                self._notify("joined", worker)
            elif worker != before[name]:
                self._notify("health", worker)
        fresh = {name for name, worker in workers.items() if name in before and worker.life == before[name].life}
        for queue in list(self.queues.values()):
            self.run_safely(queue.workers_changed, workers.keys(), fresh)

    def _notify(self, event: str, worker: WorkerInfo) -> None:
        for watcher in list(self.watchers):
            self.run_safely(watcher, event, worker)

    def message(self, worker: str, message: tuple[Any, ...]) -> None:
        """Take one message of an agent, or of the gateway about a batch."""
        batch = None
        try:
            kind, subject, *rest = message
            batch = self.batches.get(subject)
            if batch is not None and kind in LASTING:
                batch.heard += 1
            self._handlers[kind](worker, subject, *rest)
        except BaseException as error:  # whatever a message holds, the next ones are heard
            self._mishandled(worker, message, batch, error)

    def _mishandled(self, worker: str, message: Any, batch: AnyBatch | None, error: BaseException) -> None:
        kind = message[0] if isinstance(message, tuple | list) and message else message
        self.complain(error, f"a message {str(kind)[:20]!r} of {worker}")
        if batch is not None:
            self._give_up(batch, error)
        for queue in list(self.queues.values()):
            self.run_safely(queue.pump)

    def _give_up(self, batch: AnyBatch, error: BaseException) -> None:
        """Fail what is left of a batch whose messages cannot be handled."""
        queue = batch.queue
        self.batches.pop(batch.ident, None)
        queue.batches.pop(batch.ident, None)
        queue.spoil(batch.ours(), error)
        self.tell(batch.worker, orders.Stop(batch.ident, 0.0))
        if queue.is_closed and not queue.batches:
            self.queues.pop(queue.digest, None)

    def on_dropped(self, worker: str, ident: int, stop: int, info: dict[str, Any]) -> None:
        """An agent has stopped a batch that nobody waits for."""

    def on_begun(self, worker: str, ident: int, index: int) -> None:
        """A slot runs job ``index`` of a batch."""
        batch = self.batches.get(ident)
        info = self.infos.get(worker)
        if batch is None or info is None:
            return
        batch.worker = worker
        batch.begun(index, info, time.time())

    def on_results(self, worker: str, ident: int, records: wire.Blob) -> None:
        """Some jobs of a batch are done."""
        batch = self.batches.get(ident)
        if batch is not None:
            count, busy = batch.take(records, self.infos.get(worker))
            batch.queue.batcher.measured(count, busy)

    def on_provisional(self, worker: str, ident: int, index: int, data: wire.Blob) -> None:
        """A job handed in a provisional result."""
        batch, info = self.batches.get(ident), self.infos.get(worker)
        if isinstance(batch, JobBatch) and info is not None and not batch.pending_jobs[index].done:
            batch.begun(index, info, time.time())
            try:
                batch.pending_jobs[index].provisional(bytes(wire.buffer_of(data)))
            except BaseException as error:
                text = f"Its provisional result cannot be taken here: {type(error).__name__}: {error}"
                self._fail_running(batch, index, ResultNotPicklable(text, function=batch.queue.computation.name))

    def on_file(self, worker: str, ident: int, index: int, path: str, data: wire.Blob, mode: int, mtime: float) -> None:
        """A job sent a file."""
        batch = self.batches.get(ident)
        if batch is not None:
            pending_job = batch.pending_jobs[index] if isinstance(batch, JobBatch) else None
            try:
                batch.queue.listener.file(File(path, bytes(wire.buffer_of(data)), mode, mtime), pending_job)
            except BaseException as error:
                self._fail_running(batch, index, file_error(path, error, batch.queue.computation.name, worker))

    def _fail_running(self, batch: AnyBatch, index: int, error: JobError) -> None:
        """Fail a job whose news cannot be used here, and stop it."""
        payload = batch.payload(index)
        if payload is None:
            return
        now, data = time.time(), pickle.dumps(error)
        worker = self.infos.get(batch.worker or "")
        place = worker, batch.queue.computation.name
        self.run_safely(self.recorder.unrun, place, (outcome.FAULT, data), 0.0, payload)
        batch.settle(index, outcome.FAULT, data, now, now, worker)
        self.tell(batch.worker, orders.Cancel(batch.ident, index, 0.5))

    def on_cut(self, worker: str, ident: int, index: int) -> None:
        """A batch overstays: its jobs from ``index`` on have not started and may go elsewhere."""
        batch = self.batches.get(ident)
        if batch is not None:
            self._give_back(batch, index)
            batch.queue.pump()

    def _give_back(self, batch: AnyBatch, index: int) -> None:
        self._bring_back(batch.queue, batch.give_back(index))

    def _bring_back(self, queue: ComputationQueue, entries: list[Entry]) -> None:
        """Queue jobs again that are no batch's any more; if that cannot be, they fail."""
        try:
            queue.back(entries)
        except BaseException as error:
            self.complain(error, f"jobs of {queue.computation.name} that come back")
            queue.spoil(entries, error)

    def on_end(self, worker: str, ident: int, reason: str, stop: int, info: dict[str, Any]) -> None:
        """A batch is over: all done, given back from ``stop`` on, refused, or its slot died at ``stop``."""
        batch = self.batches.pop(ident, None)
        if batch is None:
            return
        queue = batch.queue
        del queue.batches[ident]
        if reason == "died":
            self._autopsy(batch, stop, info)
            stop += 1
        elif reason == "refused" and info.get("is_batch"):
            queue.fail(batch.ours(), batch_error(str(info.get("text")), queue.computation.name, worker))
        elif reason == "refused":
            queue.refused_on[worker] = info.get("text", "")
        self._give_back(batch, 0 if reason in ("returned", "done", "refused") else stop)
        if reason == "refused":
            self._all_refused(queue)
        if queue.is_closed and not queue.batches:
            self.queues.pop(queue.digest, None)
        queue.pump()

    def _autopsy(self, batch: AnyBatch, index: int, info: dict[str, Any]) -> None:
        """Start the one job that ran when its slot died once more elsewhere, if that is allowed; else it fails."""
        payload = batch.payload(index)
        if payload is None:
            return None
        name, now = batch.worker or "", time.time()
        kind, data = outcome.CANCELLED, b""
        if info.get("why") != "cancelled":
            if info.get("why") != "timeout":
                attempt = Attempt(name, exit_phrase(info), now)
                others = 0 if is_own_end(info) else self._others(batch, index)
                again = batch.died(index, attempt, self.crash_workers, others)
                if again is not None:
                    self.recorder.story.count("retried")
                    return self._bring_back(batch.queue, [again])
            error = autopsy_error(batch.queue.computation, payload, name, info, batch.past(index))
            kind, data = outcome.FAULT, pickle.dumps(error)
        worker, ran_s = self.infos.get(name), info.get("ran_s", 0.0)
        place = worker, batch.queue.computation.name
        self.run_safely(self.recorder.unrun, place, (kind, data), ran_s, payload)
        return batch.settle(index, kind, data, now - ran_s, now, worker)

    def _others(self, batch: AnyBatch, index: int) -> int:
        """Return on how many workers a job could run where it has not been."""
        been = {attempt.worker for attempt in batch.past(index)} | {batch.worker}
        return sum(worker.name not in been for worker in self.usable(batch.queue))

    def on_lost(self, worker: str, ident: int, jobs: int = 0, text: str = "") -> None:
        """The worker of a batch is gone: its jobs run again if their retries allow it.

        The one that ran when the worker's process ended may be the reason: it is tried on few more.
        """
        batch = self.batches.pop(ident, None)
        if batch is None:
            return
        del batch.queue.batches[ident]
        suspect = self._suspect(batch, worker)
        again, failed = batch.lost(Attempt(worker, WENT_AWAY, time.time()))
        if suspect is not None:
            again = [suspect, *without(again, suspect)]
        self._bring_back(batch.queue, again)
        for index in failed:
            self._fail_lost(batch, index, worker)
        self.recorder.story.count("retried", sum(entry_size(entry) for entry in again))
        batch.queue.pump()

    def _suspect(self, batch: AnyBatch, worker: str) -> Entry | None:
        """Return the job that ran when its worker's process ended, if it may run again; else it fails."""
        if batch.worker != worker or self.went.get(worker, SILENT) == SILENT or batch.payload(batch.current) is None:
            return None
        index = batch.current
        past = batch.past(index)
        guiltless = {attempt.worker for attempt in past if attempt.cause == WENT_AWAY}
        guiltless -= {worker} | {attempt.worker for attempt in past if attempt.cause != WENT_AWAY}
        most = self.crash_workers + len(guiltless)
        again = batch.died(index, Attempt(worker, ENDED_WORKER, time.time()), most, max(1, self._others(batch, index)))
        if again is None:
            self._fail_lost(batch, index, worker)
        return again

    def _fail_lost(self, batch: AnyBatch, index: int, worker: str) -> None:
        """Fail a job that was lost with its worker."""
        payload = batch.payload(index) or b""
        error = lost_error(batch.queue.computation, payload, worker, batch.past(index), batch.most(index))
        data = pickle.dumps(error)
        place = self.infos.get(worker), batch.queue.computation.name
        self.run_safely(self.recorder.unrun, place, (outcome.FAULT, data), 0.0, payload)
        batch.settle(index, outcome.FAULT, data, 0.0, time.time(), self.infos.get(worker))

    def on_ready(self, worker: str, digest: str) -> None:
        """A computation is set up on a worker."""
        queue, info = self.queues.get(digest), self.infos.get(worker)
        if queue is not None and info is not None:
            queue.refused_on.pop(worker, None)
            queue.ready_on.add(worker)
            self.run_safely(queue.listener.ready, info)

    def on_refused(self, worker: str, digest: str, text: str) -> None:
        """A computation cannot be set up on a worker."""
        queue, info = self.queues.get(digest), self.infos.get(worker)
        if queue is not None and info is not None:
            queue.refused_on[worker] = text
            self.run_safely(queue.listener.refused, info, text)
            self._all_refused(queue)

    def _all_refused(self, queue: ComputationQueue) -> None:
        """Fail a queue's jobs when no worker can run them."""
        if queue.is_refused(self.usable(queue)):
            error = refused_error(queue.computation, queue.refused_on)
            queue.fail_waiting(error)
            queue.fail([entry for batch in queue.batches.values() for entry in batch.ours()], error)

    def on_closed(self, worker: str, digest: str) -> None:
        """A computation was cleaned up on a worker."""
        queue, info = self.queues.get(digest), self.infos.get(worker)
        if queue is not None and info is not None:
            queue.ready_on.discard(worker)
            self.run_safely(queue.listener.closed, info)

    def master_renewed(self) -> None:
        """Another process of the master answers: tell it what there is, and what is on its way."""
        assert self.link is not None
        batches = list(self.batches.values())
        for queue in list(self.queues.values()):
            queue.introduce()
        self.link.claim([batch.claim() for batch in batches])
        for batch in batches:
            indexes = batch.cancelled()
            if indexes is None:
                self.tell(batch.worker, orders.Stop(batch.ident, 1.0))
            for index in indexes or ():
                self.tell(batch.worker, orders.Cancel(batch.ident, index, 1.0))
        for queue in list(self.queues.values()):
            queue.pump()

    def link_lost(self, error: Exception) -> None:
        """The way to the slots is gone: every job that has no outcome fails and says so."""
        self.is_broken = error
        for queue in list(self.queues.values()):
            flying = [entry for batch in queue.batches.values() for entry in batch.ours()]
            queue.fail([*queue.take_waiting(), *flying], error)
            queue.batches.clear()
        self.batches.clear()

    def cancel_everything(self) -> None:
        """End all jobs that have no outcome as cancelled."""
        for queue in list(self.queues.values()):
            queue.is_closed = True
            flying = [entry for batch in queue.batches.values() for entry in batch.ours()]
            queue.cancel_entries([*queue.take_waiting(), *flying])


def forked_error(pid: int) -> ClusterForked:
    """Return the error for a process that uses a cluster of the one that it was forked from."""
    return ClusterForked(
        f"This cluster belongs to the process {pid}, from which this one was forked. Make a Cluster here, or submit "
        "the jobs there."
    )


def queue_size(entries: deque[Entry]) -> int:
    """Return how many jobs wait in a queue; single jobs are not looked at one by one, they may be millions."""
    if not entries or not isinstance(entries[0], ItemRange):
        return len(entries)
    return sum(len(entry) if isinstance(entry, ItemRange) else 1 for entry in list(entries))


def without(entries: list[Entry], suspect: Entry) -> list[Entry]:
    """Return what a lost batch gives back, without the one job that goes its own way."""
    if not isinstance(suspect, ItemRange):
        return entries
    found: list[Entry] = []
    for entry in entries:
        if isinstance(entry, ItemRange) and entry.start <= suspect.start < entry.stop:
            parts = (entry.start, suspect.start), (suspect.stop, entry.stop)
            found += [entry.piece(start, stop) for start, stop in parts if start < stop]
        else:
            found.append(entry)
    return found
