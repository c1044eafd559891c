"""What workers say, and that they come, fall silent and go."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, get_args

from octapi.engine.dask_frames import message_of
from octapi.errors import MessageRefused
from octapi.master.gateway.handshake import in_health, why_not
from octapi.master.gateway.placement import WorkerRecord
from octapi.protocol import orders
from octapi.protocol import worker_messages as said
from octapi.protocol.checked import or_refusal
from octapi.protocol.messages import plain as to_plain
from octapi.protocol.messages import word_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from octapi.engine.dask_nodes import QuietScheduler
    from octapi.engine.guard import Guard
    from octapi.master.gateway.batches import Batches
    from octapi.master.gateway.claims import Claims
    from octapi.master.gateway.clients import Clients
    from octapi.master.gateway.dask_use import DaskUse
    from octapi.master.gateway.observers import Observers
    from octapi.master.gateway.workers import Workers

log = logging.getLogger("octapi.master.gateway")

#: Dask holds messages back this long to send them together; ours are batches already, in seconds
HOLD_S: Final = 0.0002
#: a worker that gives no sign of life for so long gets no more batches, and after the second time is lost, in seconds
SILENT_S: Final = 8.0
LOST_S: Final = 15.0
#: messages that are none, after which a worker's connection is ended
MOST_REFUSALS: Final = 20
#: the most jobs of a batch that is not known any more
MOST_JOBS: Final = (1 << 32) - 1
#: how long the batches of clients that do not come back stay with the workers that brought them, in seconds
UNCLAIMED_S: Final = 900.0


class WorkerReports:
    """Takes workers' messages.  Who speaks is the connection that it came over, never what it says."""

    def __init__(
        self,
        scheduler: QuietScheduler,
        guard: Guard | None,
        clients: Clients,
        workers: Workers,
        batches: Batches,
        claims: Claims,
        dask: DaskUse,
        observers: Observers,
    ) -> None:
        self._scheduler = scheduler
        self._guard = guard
        self._clients = clients
        self._workers = workers
        self._batches = batches
        self._claims = claims
        self._dask = dask
        self._observers = observers
        of_computation = dict.fromkeys((said.Ready, said.Closed, said.Refused), self._computation_news)
        of_batch = dict.fromkeys(get_args(said.OfBatch), self._batch_news)
        self._handlers: Mapping[type[Any], Callable[[WorkerRecord, Any], None]] = {
            said.Health: self._health, **of_computation, **of_batch,
        }  # fmt: skip
        #: the latest news of trust, for workers that join
        self.trust: dict[str, Any] | None = None

    # ---- messages

    def take(self, address: str, body: Any, data: Any = None) -> None:
        """Take one message that came over Dask's connection from a worker; one that is none is refused by name.

        After too many the connection is ended.
        """
        plain: Any = ()
        worker = self._workers.at(address)
        try:
            plain = message_of(body, data)
            if worker is None and word_of(plain) != "hello":
                return
            message = said.said(plain)
            if isinstance(message, said.Hello):
                self._joined(address, message.facts)
            elif worker is not None:
                self._heard(worker)
                self._handlers[type(message)](worker, message)
        except Exception as error:
            if worker is not None and isinstance(plain, list) and len(plain) > 1:
                self._give_back(worker, plain[1], error)
            self._refuse(address, worker, error)

    def _health(self, worker: WorkerRecord, message: said.Health) -> None:
        worker.info["health"] = in_health(message.measured, self._observers.registry.now())
        self._observers.worker_health(worker)
        self._workers.changed_soon()

    def _computation_news(self, worker: WorkerRecord, message: said.OfComputation) -> None:
        digest = message.digest
        if not worker.may_tell_of(digest):
            return
        if isinstance(message, said.Closed):
            worker.leaving -= Counter([digest])
        elif isinstance(message, said.Refused):
            worker.refused.add(digest)
        elif isinstance(message, said.Ready) and digest in worker.refused:
            worker.refused.discard(digest)
            self._batches.place()
        for client in self._clients:
            if digest in client.computations:
                client.deliver(worker.name, to_plain(message))

    def _batch_news(self, worker: WorkerRecord, news: said.OfBatch) -> None:
        batch = worker.held.get(news.key)
        said.check_places(news, MOST_JOBS if batch is None else batch.most)
        if batch is None or not batch.is_muted:
            self._observers.batch_news(news)
        if batch is None or isinstance(news, said.Dropped):
            return
        if isinstance(news, said.Replaying):
            batch.is_muted = False
        elif not batch.is_muted and not (batch.client.is_detached and isinstance(news, said.Begun | said.Cut)):
            self._batches.news(worker, batch, news)

    def _give_back(self, worker: WorkerRecord, key: Any, error: Exception) -> None:
        """A worker says of a batch what makes no sense, or what could not be handled: it is not that worker's any more.

        What is no message costs the worker the batch, and another runs it; what broke something here ends it.
        """
        named = or_refusal(said.KEY)(key)
        batch = None if isinstance(named, MessageRefused) else worker.held.get(named)
        if batch is None:
            return
        if isinstance(error, MessageRefused):
            self._batches.spoilt(worker, batch)
        else:
            text = f"{worker.name} said of it what cannot be used ({type(error).__name__}: {error})"
            self._workers.send(worker, orders.Stop(batch.key, 0.0))
            info = {"text": text, "is_batch": True}
            self._batches.news(worker, batch, said.End(batch.key, "refused", 0, info))

    def _refuse(self, address: str, worker: WorkerRecord | None, error: Exception) -> None:
        """Log a message of a worker that is none, and end the connection of one that goes on so."""
        self._observers.message_refused(address if worker is None else worker.name, error)
        if worker is None:
            self._workers.send_away(address, f"it does not say what it is: {error}.")
            return
        worker.refusals += 1
        if worker.refusals >= MOST_REFUSALS:
            self._workers.remove(worker.address)

    # ---- coming and going

    def _joined(self, address: str, facts: dict[str, Any]) -> None:
        owner = None if self._guard is None else self._guard.address_owners.by_address[address]
        why = why_not(facts, None if owner is None else owner.name)
        if why:
            self._observers.worker_refused(facts.get("name"), why)
            self._workers.send_away(address, why)
            return
        self._scheduler.stream_comms[address].interval = HOLD_S
        facts["health"] = in_health(facts["health"], self._observers.registry.now())
        worker = WorkerRecord(address, facts, asyncio.get_running_loop().time())
        worker.is_draining = self._workers.draining.get(worker.name) == facts["life"]
        self._workers.by_name[worker.name] = worker
        if self.trust is not None:
            self._workers.send(worker, orders.Trust(self.trust))
        self._observers.worker_joined(worker)
        self._batches.share_limited(worker)
        self._dask.joined(worker)
        self._workers.changed()
        self._claims.sort(worker)
        self._batches.place()

    def may_replace(self, name: str) -> bool:
        """Say whether a worker that comes is the one of this name: its certificate says so, or else silence."""
        worker = self._workers.by_name.get(name)
        return self._guard is not None or worker is None or worker.is_silent

    def gone(self, address: str) -> None:
        """A worker, or the process of its Dask tasks, is gone: tell the clients whose batches it had."""
        worker = self._workers.at(address)
        if worker is not None:
            del self._workers.by_name[worker.name]
        if self._guard is not None:
            self._guard.address_owners.forget(address)
        if worker is None:
            return
        self._dask.list_workers()
        self._workers.changed()
        self._observers.worker_left(worker, "it gave no sign of life" if worker.is_silent else "its connection ended")
        for batch in list(worker.held.values()):
            self._batches.lost(worker, batch)
        self._batches.place()

    # ---- signs of life

    def _heard(self, worker: WorkerRecord) -> None:
        """A worker gave a sign of life."""
        worker.heard_at = asyncio.get_running_loop().time()
        if worker.is_silent:
            worker.is_silent = False
            log.info(f"{worker.name} answers again.")
            self._workers.changed()
            self._batches.place()

    def look(self, now: float) -> None:
        """Give nothing more to workers that are silent, and count those as lost that stay so.  Each second."""
        for worker in self._workers:
            read = self._workers.bytes_read(worker)
            if read != worker.read:  # a long message on its way is a sign of life too
                worker.read = read
                self._heard(worker)
            silent_s = now - worker.heard_at
            if silent_s > LOST_S:
                log.warning(f"{worker.name} gave no sign of life for {silent_s:.0f} s.")
                self._workers.remove(worker.address)
            elif silent_s > SILENT_S and not worker.is_silent:
                worker.is_silent = True
                self._workers.changed()
            if worker.unclaimed and now - worker.joined_at > UNCLAIMED_S:
                self._workers.send(worker, orders.Drop(sorted(worker.unclaimed)))
                worker.unclaimed.clear()
