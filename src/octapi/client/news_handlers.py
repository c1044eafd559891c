"""What news of batches and computations mean for their jobs: one method for each kind, found by its type.

Decisions only: the time is an argument, and what is to be sent becomes instructions of the core.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from octapi.client.backlog import entry_size
from octapi.client.batch import JobBatch
from octapi.client.failed_attempts import FailedAttempts
from octapi.client.job_errors import batch_error, file_error, refused_error
from octapi.errors import ResultNotPicklable
from octapi.protocol import orders, outcome, wire
from octapi.protocol import worker_messages as said
from octapi.protocol.computation import File
from octapi.protocol.news import Lost, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.client.batch import AnyBatch, Entry
    from octapi.client.core import Core
    from octapi.client.queue import ComputationQueue
    from octapi.errors import JobError
    from octapi.protocol.news import News
    from octapi.protocol.outcome import WorkerInfo


class NewsHandlers:
    """Takes news for one core."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._attempts = FailedAttempts(core)
        self._handlers: dict[type[Any], Callable[[str, Any, float], None]] = {
            said.Begun: self.on_begun,
            said.Results: self.on_results,
            said.Provisional: self.on_provisional,
            said.SentFile: self.on_file,
            said.Cut: self.on_cut,
            said.End: self.on_end,
            said.Ready: self.on_ready,
            said.Refused: self.on_refused,
            said.Closed: self.on_closed,
            Lost: self.on_lost,
            Unreadable: self.on_unreadable,
        }

    def take(self, worker: str, news: News, now: float) -> None:
        """Take one piece of news at ``now`` (epoch seconds); whatever it holds, the next ones are heard."""
        batch = None
        try:
            batch = self._find(news[0])
            if batch is not None and isinstance(news, said.LASTING):
                batch.heard += 1
            handler = self._handlers.get(type(news))
            if handler is not None:  # dropped and replayed batches are no client's
                handler(worker, news, now)
        except BaseException as error:
            self._core.complain(error, f"{type(news).__name__} of {worker}")
            if batch is not None:
                self._give_up(batch, error)
            for queue in list(self._core.queues.values()):
                self._core.run_safely(queue.pump)

    def on_unreadable(self, worker: str, news: Unreadable, now: float) -> None:
        """Something was said that is no news.  Raises why."""
        raise news.error

    def _give_up(self, batch: AnyBatch, error: BaseException) -> None:
        """Fail what is left of a batch whose messages cannot be handled."""
        queue = batch.queue
        self._core.batches.pop(batch.ident, None)
        queue.batches.pop(batch.ident, None)
        queue.spoil(batch.ours(), error)
        self._core.tell(batch.worker, orders.Stop(batch.ident, 0.0))
        self._core.forget_if_over(queue)

    # ---- of batches

    def on_begun(self, worker: str, news: said.Begun, now: float) -> None:
        """A slot runs a job of a batch."""
        batch, info = self._find(news.key), self._core.infos.get(worker)
        if batch is not None and info is not None:
            batch.worker = worker
            batch.begun(news.job, info, now)

    def _find(self, key: Any) -> AnyBatch | None:
        """Return a batch that is on its way; a client's batches have numbers."""
        return self._core.batches.get(key) if isinstance(key, int) else None

    def on_results(self, worker: str, news: said.Results, now: float) -> None:
        """Some jobs of a batch are done."""
        batch = self._find(news.key)
        if batch is not None:
            count, busy = batch.take(news.records, self._core.infos.get(worker))
            batch.queue.batcher.measured(count, busy)

    def on_provisional(self, worker: str, news: said.Provisional, now: float) -> None:
        """A job handed in a provisional result."""
        batch, info, index = self._find(news.key), self._core.infos.get(worker), news.job
        if isinstance(batch, JobBatch) and info is not None and not batch.pending_jobs[index].done:
            batch.begun(index, info, now)
            try:
                batch.pending_jobs[index].provisional(bytes(wire.buffer_of(news.data)))
            except BaseException as error:
                text = f"Its provisional result cannot be taken here: {type(error).__name__}: {error}"
                wrong = ResultNotPicklable(text, function=batch.queue.computation.name)
                self._fail_running(batch, index, wrong, now)

    def on_file(self, worker: str, news: said.SentFile, now: float) -> None:
        """A job sent a file."""
        batch = self._find(news.key)
        if batch is not None:
            pending_job = batch.pending_jobs[news.job] if isinstance(batch, JobBatch) else None
            try:
                file = File(news.path, bytes(wire.buffer_of(news.data)), news.mode, news.mtime)
                batch.queue.listener.file(file, pending_job)
            except BaseException as error:
                wrong = file_error(news.path, error, batch.queue.computation.name, worker)
                self._fail_running(batch, news.job, wrong, now)

    def _fail_running(self, batch: AnyBatch, index: int, error: JobError, now: float) -> None:
        """Fail a job whose news cannot be used here, and stop it."""
        payload = batch.payload(index)
        if payload is None:
            return
        data, worker = pickle.dumps(error), self._core.infos.get(batch.worker or "")
        place = worker, batch.queue.computation.name
        self._core.run_safely(self._core.recorder.unrun, place, (outcome.FAULT, data), 0.0, payload)
        batch.settle(index, outcome.FAULT, data, now, now, worker)
        self._core.tell(batch.worker, orders.Cancel(batch.ident, index, 0.5))

    def on_cut(self, worker: str, news: said.Cut, now: float) -> None:
        """A batch overstays: its jobs from ``news.job`` on have not started and may go elsewhere."""
        batch = self._find(news.key)
        if batch is not None:
            self._bring_back(batch.queue, batch.give_back(news.job))
            batch.queue.pump()

    def _bring_back(self, queue: ComputationQueue, entries: list[Entry]) -> None:
        """Queue jobs again that are no batch's any more; if that cannot be, they fail."""
        try:
            queue.back(entries)
        except BaseException as error:
            self._core.complain(error, f"jobs of {queue.computation.name} that come back")
            queue.spoil(entries, error)

    def _over(self, key: said.Key) -> AnyBatch | None:
        """Return a batch that is on its way, and is no more."""
        batch = self._find(key)
        if batch is not None:
            del self._core.batches[batch.ident]
            del batch.queue.batches[batch.ident]
        return batch

    def on_end(self, worker: str, news: said.End, now: float) -> None:
        """A batch is over: all done, given back from ``stop`` on, refused, or its slot died at ``stop``."""
        batch = self._over(news.key)
        if batch is None:
            return
        queue, stop = batch.queue, news.stop
        if news.reason == "died":
            again = self._attempts.autopsy(batch, stop, news.info, now)
            self._bring_back(queue, [] if again is None else [again])
            stop += 1
        elif news.reason == "refused":
            self._refused(batch, worker, news.info)
        self._bring_back(queue, batch.give_back(0 if news.reason in ("returned", "done", "refused") else stop))
        if news.reason == "refused":
            self._all_refused(queue)
        self._core.forget_if_over(queue)
        queue.pump()

    def _refused(self, batch: AnyBatch, worker: str, info: dict[str, Any]) -> None:
        """A worker does not take this batch, or no batch of its computation."""
        if info.get("is_batch"):
            batch.queue.fail(batch.ours(), batch_error(str(info.get("text")), batch.queue.computation.name, worker))
        else:
            batch.queue.refused_on[worker] = info.get("text", "")

    def on_lost(self, worker: str, news: Lost, now: float) -> None:
        """The worker of a batch is gone: its jobs run again if their retries allow it."""
        batch = self._over(news.key)
        if batch is None:
            return
        again = self._attempts.lost(batch, worker, now)
        self._bring_back(batch.queue, again)
        self._core.recorder.story.count("retried", sum(entry_size(entry) for entry in again))
        batch.queue.pump()

    # ---- of computations

    def _place(self, digest: str, worker: str) -> tuple[ComputationQueue, WorkerInfo] | None:
        """Return the queue of a computation, and a worker, if there are both."""
        queue, info = self._core.queues.get(digest), self._core.infos.get(worker)
        return None if queue is None or info is None else (queue, info)

    def on_ready(self, worker: str, news: said.Ready, now: float) -> None:
        """A computation is set up on a worker."""
        if found := self._place(news.digest, worker):
            queue, info = found
            queue.refused_on.pop(worker, None)
            queue.ready_on.add(worker)
            self._core.run_safely(queue.listener.ready, info)

    def on_refused(self, worker: str, news: said.Refused, now: float) -> None:
        """A computation cannot be set up on a worker."""
        if found := self._place(news.digest, worker):
            queue, info = found
            queue.refused_on[worker] = news.text
            self._core.run_safely(queue.listener.refused, info, news.text)
            self._all_refused(queue)

    def _all_refused(self, queue: ComputationQueue) -> None:
        """Fail a queue's jobs when no worker can run them."""
        if queue.is_refused(self._core.usable(queue)):
            error = refused_error(queue.computation, queue.refused_on)
            queue.fail_waiting(error)
            queue.fail([entry for batch in queue.batches.values() for entry in batch.ours()], error)

    def on_closed(self, worker: str, news: said.Closed, now: float) -> None:
        """A computation was cleaned up on a worker."""
        if found := self._place(news.digest, worker):
            queue, info = found
            queue.ready_on.discard(worker)
            self._core.run_safely(queue.listener.closed, info)
