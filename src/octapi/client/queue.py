"""The queue of one computation in one client, and the batches it has on their way."""

from __future__ import annotations

import itertools
import pickle
from typing import TYPE_CHECKING, Any

from octapi.client.backlog import Backlog, entry_size
from octapi.client.batch import ItemBatch
from octapi.client.batch_maker import BatchMaker, fill, large_error
from octapi.client.batcher import Batcher
from octapi.client.item_range import ItemRange, RawOutcome
from octapi.client.job_errors import handling_error, mismatch_error, refused_error
from octapi.errors import ClusterClosed
from octapi.protocol import orders, outcome
from octapi.protocol.computation import minor

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Collection, Iterable, Mapping

    from octapi.client.batch import AnyBatch, Entry
    from octapi.client.core import Core
    from octapi.client.listener import ComputationListener
    from octapi.client.pending_job import PendingJob
    from octapi.errors import JobError
    from octapi.protocol.computation import Computation, File
    from octapi.protocol.outcome import WorkerInfo
    from octapi.protocol.specs import ComputationFacts
    from octapi.results import Results


#: what waits fails when it could not be sent so often in a row
STUMBLES = 3


class ComputationQueue:
    """One computation's jobs in one client.  ``submit``, ``cancel`` and ``close`` may be called from any thread."""

    numbers = itertools.count(1)

    def __init__(
        self,
        dispatcher: Core,
        computation: Computation,
        limits: Mapping[str, int] | None,
        listener: ComputationListener,
    ) -> None:
        self.dispatcher = dispatcher
        self.computation = computation
        self.listener = listener
        self.limits = None if limits is None else dict(limits)
        #: what its jobs wait for when no worker may run them, for people
        self.wanted = ""
        self.worker_facts: dict[str, dict[str, Any]] = {}
        self.number = next(self.numbers)
        self.spec = computation.to_bytes()
        self.digest = f"{computation.digest()}-{dispatcher.client}-{self.number}"
        self.backlog = Backlog()
        self.unpinned, self.pinned = self.backlog.unpinned, self.backlog.pinned
        self.batches: dict[int, AnyBatch] = {}
        self.batcher = Batcher()
        self._maker = BatchMaker(self)
        self.is_idle = True
        #: how often in a row it could not send what waits
        self.stumbles = 0
        #: the link knows it
        self.is_introduced = False
        self.ready_on: set[str] = set()
        self.refused_on: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self.is_closed = False
        #: nobody will find it again; it is closed once it has no jobs
        self.is_dropped = False
        #: how many may still add jobs; kept by who finds queues
        self.holders = 0
        self.is_retired = False

    # ---- from any thread

    def submit(self, pending_job: PendingJob) -> None:
        """Queue a job; never blocks.  Raises :exc:`ClusterClosed` after :meth:`close`."""
        pending_job.queue = self
        pending_job.serial = next(self._numbers)
        if len(pending_job.payload) > self.dispatcher.largest:
            error = large_error(self.computation.name, len(pending_job.payload), self.dispatcher.largest)
            return self.dispatcher.call(self.fail, [pending_job], error)
        return self.add(pending_job)

    def add(self, entry: Entry) -> None:
        """Queue a job or a range of items; never blocks.  Raises :exc:`ClusterClosed` after :meth:`close`."""
        dispatcher = self.dispatcher
        if dispatcher.is_closed or dispatcher.is_forked:
            dispatcher.check_open()
        if self.is_closed:
            raise ClusterClosed("The cluster was shut down, so it takes no more jobs. Make a new one.")
        if isinstance(entry, ItemRange):
            entry.page.number = next(self._numbers)
        if entry.worker is None and not entry.code and not entry.files:
            self.unpinned.append(entry)
        else:
            self.pinned.append(entry)
        if self.is_idle:
            self.is_idle = False
            dispatcher.call(self.pump)
        if dispatcher.is_closed:  # meanwhile: what waited has been cancelled, and this may have come too late
            self.cancel_entries(self.take_waiting())

    def cancel(self, pending_job: PendingJob, grace_s: float = 1.0) -> bool:
        """Take a job back, or stop it if it runs; False if it was done already."""
        if pending_job.done:
            return False
        self.dispatcher.call(self.dispatcher.cancel, self, pending_job, grace_s)
        return True

    def cancel_pages(self, reader: Results[Any]) -> None:
        """Take all items of one reader back, and stop those that run."""
        self.dispatcher.call(self._cancel_pages, reader)

    def set_limits(self, limits: Mapping[str, int] | None) -> None:
        """Say anew which workers may run it, and how many jobs at once each."""
        self.limits = None if limits is None else dict(limits)
        self.dispatcher.call(self.define)

    def set_worker(self, worker: str, setup_args: bytes = b"", files: Iterable[File] = ()) -> None:
        """Give one worker setup arguments (a pickled tuple) and files of its own, before it gets the computation."""
        rows = [file.row() for file in files]
        self.worker_facts[worker] = {"setup_args": setup_args, "files": rows}

    def renew(self, worker: str) -> None:
        """Run cleanup and setup again on one worker, once no job of this computation runs there."""
        facts = {**self.worker_facts.get(worker, {}), "limit": None if self.limits is None else self.limits.get(worker)}
        self.refused_on.pop(worker, None)
        self.dispatcher.call(self._tell_anew, worker, orders.Renew(self.digest, facts))

    def drop(self, worker: str) -> None:
        """Clean up on one worker; it gets no more jobs."""
        self.dispatcher.call(self._tell_anew, worker, orders.Forget(self.digest))

    def _tell_anew(self, worker: str, order: orders.Renew | orders.Forget) -> None:
        """Tell a worker what begins the computation anew there: that it refused it before is over."""
        self.refused_on.pop(worker, None)
        self.dispatcher.tell(worker, order)

    def send_file(self, file: File, worker: str) -> None:
        """Put a file into the computation's directory on one worker; jobs submitted afterwards find it.

        It waits until the file is on its way: a pump that runs just now could send a job before it.
        """
        row = list(file.row())
        self.dispatcher.call_and_wait(self.dispatcher.tell, worker, orders.PutFile(self.digest, row))

    def close(self, terminate: bool = False) -> None:
        """Forget the computation everywhere; with ``terminate`` its jobs are stopped first."""
        if not self.is_closed:
            self.is_closed = True
            self.dispatcher.call(self.dispatcher.close_queue, self, terminate)

    def retire(self) -> None:
        """Close it as soon as it has no jobs; it gets no more."""
        self.dispatcher.call(self._retire)

    @property
    def pending(self) -> int:
        """The number of jobs that have no outcome yet."""
        flying = sum(len(batch.ours()) for batch in list(self.batches.values()))
        return sum(len(entries) for entries in self.waiting_lists()) + flying

    def waiting_lists(self) -> list[deque[Entry]]:
        """Return what waits: for any worker, by itself or for one worker, and for workers that are not there."""
        return self.backlog.lists()

    def take_waiting(self) -> list[Entry]:
        """Take out everything that waits."""
        self.is_idle = True  # first: what is added meanwhile calls pump
        return self.backlog.take_all()

    def why_waiting(self) -> str | None:
        """Say why its jobs cannot start, if that is so and can be known just now."""
        from octapi.client.waiting import reason

        try:
            return reason(self, self.dispatcher.infos)
        except RuntimeError:  # it has changed while it was read
            return None

    # ---- on the dispatcher's thread

    def may_use(self, worker: WorkerInfo) -> bool:
        """Say whether the limits allow a worker."""
        return self.limits is None or self.limits.get(worker.name, 0) > 0

    def fits(self, worker: WorkerInfo) -> bool:
        """Say whether a worker's Python can load the computation: bytecode needs the same minor version."""
        return not self.computation.python_bound or minor(worker.python) == minor(self.computation.python)

    def usable(self, workers: Iterable[WorkerInfo]) -> list[WorkerInfo]:
        """Return those workers that may run its jobs."""
        return [worker for worker in workers if self.may_use(worker) and self.fits(worker)]

    def slots_of(self, workers: Iterable[WorkerInfo]) -> int:
        """Return how many slots of these workers it may use at once."""
        if self.limits is None:
            return sum(worker.slots for worker in workers)
        return sum(min(worker.slots, self.limits.get(worker.name, 0)) for worker in workers)

    def misfits(self) -> list[WorkerInfo]:
        """Return the workers that could run the jobs if their Python were another."""
        return [w for w in self.dispatcher.infos.values() if self.may_use(w) and not self.fits(w)]

    def define(self) -> None:
        """Tell the link about the computation, and send its jobs."""
        self.introduce()
        self.pump()

    def introduce(self) -> None:
        """Tell the link about the computation."""
        self.dispatcher.queues[self.digest] = self
        facts: ComputationFacts = {
            "limits": self.limits,
            "workers": self.worker_facts,
            "python": self.computation.python if self.computation.python_bound else "",
            "name": self.computation.name,
        }
        self.dispatcher.link_define(self.digest, self.spec, facts)
        self.is_introduced = True

    def _retire(self) -> None:
        self.is_retired = True
        self.rest()

    def rest(self) -> None:
        """Close it if it is retired and has no jobs left."""
        if self.is_retired and not (self.is_closed or self.unpinned or self.pinned or self.batches):
            self.close()

    def pump(self) -> None:
        """Send batches while there are jobs and room for them."""
        self.rest()
        if self.is_closed and not (self.unpinned or self.pinned):
            return
        if not self.is_introduced:
            self.introduce()
        if self.unpinned or self.pinned or self.backlog.absent:  # each job that ends comes here
            self._send_or_fail()
        self.stumbles = 0
        if not self.unpinned:
            self.go_idle()
        self.rest()

    def _send_or_fail(self) -> None:
        usable = self.dispatcher.usable(self)
        why = self.dispatcher.broken() or self._why_none(usable)
        if why is not None:
            self.fail_waiting(why)
        else:
            self._send(self.slots_of(usable))

    def go_idle(self) -> None:
        """Have the next job that is added call :meth:`pump`."""
        self.is_idle = True
        if self.unpinned or self.pinned:  # one was added just before
            self.is_idle = False
            self.dispatcher.call(self.pump)

    def _why_none(self, usable: list[WorkerInfo]) -> JobError | None:
        """Return why none of its jobs can ever run on the workers that there are, if so."""
        if not self.slots_of(usable) and self.misfits():
            return mismatch_error(self.computation, self.misfits())
        return refused_error(self.computation, self.refused_on) if self.is_refused(usable) else None

    def is_refused(self, usable: list[WorkerInfo]) -> bool:
        """Say whether every worker that may run its jobs has said that it cannot."""
        return bool(usable and self.refused_on) and all(worker.name in self.refused_on for worker in usable)

    def _send(self, slots: int) -> None:
        room = self.batcher.in_flight(slots) - len(self.batches)
        while self.pinned and slots:
            entry = self.pinned.popleft()
            if entry.worker is not None and entry.worker not in self.dispatcher.infos:
                self.backlog.park(entry.worker, entry)
            elif entry.worker in self.refused_on:  # no other may run it
                refusal = {str(entry.worker): self.refused_on[str(entry.worker)]}
                self.fail([entry], refused_error(self.computation, refusal))
            else:
                self.send_safely([entry])
        while room > 0 and self.unpinned and slots:
            room -= self.send_safely(self.take(slots))

    def send_safely(self, entries: list[Entry]) -> int:
        """Send a batch as :meth:`send_batch` does; if that fails, its jobs fail, and nothing else."""
        try:
            return self.send_batch(entries)
        except BaseException as error:
            self.dispatcher.complain(error, f"a batch of {self.computation.name} could not be sent")
            self.spoil(entries, error)
            return 0

    def workers_changed(self, names: Collection[str], same: Collection[str]) -> None:
        """Take which workers there are, and which of them are those that there were: what others refused is over."""
        self.ready_on &= set(names)
        for name in [name for name in self.refused_on if name not in same]:
            del self.refused_on[name]
        self.backlog.unpark(names)
        self.pump()

    def take(self, slots: int) -> list[Entry]:
        """Take the next batch from what waits: single jobs, or one range."""
        return self.backlog.take(lambda queued: self.batcher.size(queued, slots))

    def send_batch(self, entries: list[Entry]) -> int:
        """Send a batch; return 1, or 0 if nothing was left to send."""
        batch = self._maker.make(entries)
        if batch is None:
            return 0
        spec = batch.spec()
        spec["budget_s"] = self.batcher.budget_s(self.dispatcher.slots)
        spec["timeout_s"] = self.computation.timeout_s
        self.dispatcher.send(self, batch, spec)
        return 1

    def _cancel_pages(self, reader: Results[Any]) -> None:
        for entries in self.waiting_lists():
            for entry in [e for e in entries if isinstance(e, ItemRange) and e.page.reader is reader]:
                entries.remove(entry)
                self.dispatcher.recorder.story.count("cancelled", entry_size(entry))
        for batch in list(self.batches.values()):
            if isinstance(batch, ItemBatch) and batch.span.page.reader is reader:
                batch.span.retries = -1
                self.dispatcher.tell(batch.worker, orders.Stop(batch.ident, 1.0))
        self.rest()

    def back(self, entries: list[Entry]) -> None:
        """Put jobs that did not start back to the head of the queue."""
        self.backlog.back(entries)

    def fail_waiting(self, error: Exception) -> None:
        """Fail everything that waits."""
        self.fail(self.take_waiting(), error)

    def spoil(self, entries: Iterable[Entry], error: BaseException) -> None:
        """Fail jobs whose handling has raised an error."""
        self.fail(entries, handling_error(error, self.computation.name))

    def stumble(self, error: BaseException, pending_jobs: list[PendingJob]) -> None:
        """Fail the jobs that an error concerns; what waits is tried again before it fails."""
        self.stumbles += 1
        if pending_jobs or self.stumbles >= STUMBLES:
            self.spoil(pending_jobs or self.take_waiting(), error)
        self.go_idle()

    def fail(self, entries: Iterable[Entry], error: Exception) -> None:
        """Give jobs that will not run their outcome."""
        data = pickle.dumps(error)
        for entry in entries:
            size = entry_size(entry)
            self.dispatcher.run_safely(self.dispatcher.recorder.refused, self.computation.name, data, size)
            self._end(entry, outcome.FAULT, data)

    def cancel_entries(self, entries: Iterable[Entry]) -> None:
        """End jobs as cancelled."""
        for entry in entries:
            self.dispatcher.recorder.story.count("cancelled", entry_size(entry))
            self._end(entry, outcome.CANCELLED, b"")

    def _end(self, entry: Entry, kind: int, data: bytes) -> None:
        """Give a job or a range its outcome; whatever that raises, the others get theirs."""
        try:
            if isinstance(entry, ItemRange):
                fill(entry, RawOutcome(kind, data))
            else:
                entry.settle_once(kind, data)
        except BaseException as error:
            self.dispatcher.complain(error, f"an outcome of {self.computation.name}")

    def unfinished(self) -> list[Entry]:
        """Return everything that has no outcome."""
        waiting = [entry for entries in self.waiting_lists() for entry in entries]
        return [*waiting, *(entry for batch in self.batches.values() for entry in batch.ours())]
