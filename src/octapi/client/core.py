"""The dispatcher's rules: what goes out when, and what news mean for jobs.

    Queue.submit ──> queue ──pump──> instructions ──> link ──> agents ──> slots
    Pending job.resolve <── records <── news <── link

Guarantees: every pending job is resolved exactly once; only the dispatcher starts attempts; a batch's
number is never used again, so a late answer to an earlier attempt is recognised and dropped.

No thread, no clock and no input or output here.  What happens comes in as a call, with the time where that matters;
what is to be sent goes out as :mod:`octapi.client.instructions`, which :class:`~octapi.client.linked_core.LinkedCore`
carries out in their order after each call.  Outcomes of jobs are no instructions: they are handed to pending jobs and
chunks at once, for an instruction for each job costs more than all else that is done for a job here.  So are the calls
of listeners, whose errors decide what becomes of a job.
"""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVarTuple

from octapi.client.backlog import queue_size
from octapi.client.batch import JobBatch
from octapi.client.instructions import Claim, Define, Notify, Send, Tell
from octapi.client.news_handlers import NewsHandlers
from octapi.client.pending_job import PendingJob
from octapi.errors import ClusterClosed, ClusterForked
from octapi.protocol import orders, outcome
from octapi.protocol.outcome import WorkerInfo
from octapi.telemetry.recorder import RunRecorder
from octapi.telemetry.run_trace import PACE_S
from octapi.text.stderr import say, story_of

Ts = TypeVarTuple("Ts")

if TYPE_CHECKING:
    from octapi.client.batch import AnyBatch
    from octapi.client.instructions import Instruction
    from octapi.client.link import Link
    from octapi.client.queue import ComputationQueue
    from octapi.protocol.news import News
    from octapi.protocol.specs import BatchSpec, ComputationFacts

#: how many different errors are said on stderr
COMPLAINTS = 100

Watcher = Callable[[str, WorkerInfo], None]


class Core:
    """The state of one client's dispatching."""

    def __init__(self) -> None:
        #: the way to the slots, for what people ask; only :class:`LinkedCore` sends over it
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
        #: what is decided and not yet carried out
        self.instructions: deque[Instruction] = deque()
        self._news = NewsHandlers(self)
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

    def notify(self, event: str, worker: WorkerInfo) -> None:
        """Tell who watches the workers."""
        self.instructions.append(Notify(event, worker))

    # ---- queues

    def usable(self, queue: ComputationQueue) -> list[WorkerInfo]:
        """Return the workers that may run a queue's jobs."""
        return queue.usable(self.infos.values())

    def add_lane(self, queue: ComputationQueue) -> None:
        """Take a computation, and tell the link about it."""
        queue.define()

    def link_define(self, digest: str, spec: bytes, facts: ComputationFacts) -> None:
        """Tell the link about a computation."""
        self.instructions.append(Define(digest, spec, facts))

    def send(self, queue: ComputationQueue, batch: AnyBatch, spec: BatchSpec) -> None:
        """Send a batch of a queue; it is on its way from now on."""
        queue.batches[batch.ident] = self.batches[batch.ident] = batch
        self.instructions.append(Send(batch.ident, queue.number, queue.digest, spec))

    def tell(self, worker: str | None, order: Any) -> None:
        """Send an order (:mod:`octapi.protocol.orders`) to a worker's agent, or to all; no outcome depends on it."""
        self.instructions.append(Tell(worker, order))

    def sending_failed(self, ident: int, error: BaseException) -> None:
        """A batch could not be sent: its jobs fail, and nothing else."""
        batch = self.batches.pop(ident, None)
        if batch is not None:
            queue = batch.queue
            queue.batches.pop(ident, None)
            self.complain(error, f"a batch of {queue.computation.name} could not be sent")
            queue.spoil(batch.ours(), error)
            self.forget_if_over(queue)
            self.run_safely(queue.pump)

    def defining_failed(self, digest: str, error: BaseException) -> None:
        """A computation could not be made known: its jobs fail, and none of its batches that wait to go out does."""
        queue = self.queues.get(digest)
        if queue is None:
            return
        self.complain(error, f"{queue.computation.name} could not be made known")
        queue.is_introduced = False
        unsent = [it for it in self.instructions if isinstance(it, Send) and it.digest == digest]
        self.instructions = deque(it for it in self.instructions if it not in unsent)
        entries = queue.take_waiting()
        for it in unsent:
            queue.batches.pop(it.ident, None)
            entries += self.batches.pop(it.ident).give_back(0)
        queue.spoil(entries, error)
        self.forget_if_over(queue)

    def forget_if_over(self, queue: ComputationQueue) -> None:
        """Forget a queue that is closed and has no batches on their way."""
        if queue.is_closed and not queue.batches:
            self.queues.pop(queue.digest, None)

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
        self.forget_if_over(queue)

    def cancel(self, queue: ComputationQueue, pending_job: PendingJob, grace_s: float) -> None:
        """Take a job back or stop it."""
        if pending_job.done:
            return None
        batch: JobBatch | None = pending_job.batch
        if batch is None:
            queue.backlog.remove(pending_job)
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
            self.notify("left", before[name])
        for name, worker in workers.items():
            if name not in before:
                self.notify("joined", worker)
            elif worker != before[name]:
                self.notify("health", worker)
        fresh = {name for name, worker in workers.items() if name in before and worker.life == before[name].life}
        for queue in list(self.queues.values()):
            self.run_safely(queue.workers_changed, workers.keys(), fresh)

    def hear(self, worker: str, news: News, now: float) -> None:
        """Take one piece of news of a worker, or of the master in its place, at ``now`` (epoch seconds)."""
        self._news.take(worker, news, now)

    def master_renewed(self) -> None:
        """Another process of the master answers: tell it what there is, and what is on its way."""
        batches = list(self.batches.values())
        for queue in list(self.queues.values()):
            queue.introduce()
        self.instructions.append(Claim([batch.claim() for batch in batches]))
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
