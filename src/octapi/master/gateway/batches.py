"""The batches that the master holds, from their clients to workers, until their end has been told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from octapi.master.gateway.placement import least_loaded
from octapi.master.gateway.session import BatchRecord, remainder
from octapi.protocol import orders, placement
from octapi.protocol.messages import kind_of
from octapi.protocol.worker_messages import Cut, End

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from octapi.master.gateway.clients import Clients
    from octapi.master.gateway.outcome_spool import OutcomeSpool
    from octapi.master.gateway.placement import WorkerRecord
    from octapi.master.gateway.session import ClientSession
    from octapi.master.gateway.workers import Workers
    from octapi.protocol.worker_messages import OfBatch

MASTER_ENDED: Final = (
    "The master ended while a worker had the job, its script was gone too, and no worker has brought the result since."
)


class Batches:
    """Gives waiting batches to workers, and tells clients what becomes of them.

    ``backlog`` says of a worker how long Dask's tasks keep it busy.
    """

    def __init__(
        self,
        clients: Clients,
        workers: Workers,
        spool: OutcomeSpool,
        backlog: Callable[[WorkerRecord], float],
    ) -> None:
        self._clients = clients
        self._workers = workers
        self._spool = spool
        self._backlog = backlog

    # ---- computations

    def share(self, client: ClientSession, digest: str, workers: Iterable[WorkerRecord]) -> None:
        """Give a computation to workers; those that its limits leave out do not get it."""
        for worker in workers:
            self._define(client, worker, digest)

    def share_limited(self, worker: WorkerRecord) -> None:
        """Give a worker that came the computations that name the workers they may use, so that setup can begin."""
        for client in self._clients:
            limited = [d for d, (_, facts) in client.computations.items() if facts.get("limits") is not None]
            for digest in limited:
                self._define(client, worker, digest)

    def _define(self, client: ClientSession, worker: WorkerRecord, digest: str) -> None:
        spec, facts = client.computations[digest]
        limits = facts.get("limits")
        limit = None if limits is None else limits.get(worker.name, 0)
        if limit == 0 and digest not in worker.known:
            return
        worker.known.add(digest)
        own = (facts.get("workers") or {}).get(worker.name) or {}
        self._workers.send(worker, orders.Define(digest, spec, {**own, "limit": limit}))

    # ---- placing

    def hold(self, batch: BatchRecord) -> None:
        """Let a batch wait for a worker."""
        client = batch.client
        if batch.digest not in client.computations or "data" not in batch.spec:  # only the last master had it
            client.held.pop(batch.ident, None)
            return self.over(batch, client.deliver("", ("lost", batch.ident, batch.jobs, MASTER_ENDED)))
        batch.worker = None
        client.held[batch.ident] = batch
        client.waiting.append(batch)
        return None

    def place(self) -> None:
        """Give waiting batches to workers, one from each client in turn."""
        progress = True
        while progress:
            clients = sorted(self._clients, key=lambda client: len(client.held) - len(client.waiting))
            progress = sum(map(self._place_one, clients)) > 0

    def _place_one(self, client: ClientSession) -> bool:
        """Give away the first batch of a client that a worker can take; say whether there was one."""
        if client.is_full:
            return False
        tried: set[str] = set()
        for batch in client.waiting:
            is_special = placement.is_special(batch.spec)
            if batch.digest in tried and not is_special:
                continue
            worker = self.choose(batch)
            if worker is not None:
                client.waiting.remove(batch)
                self._assign(batch, worker)
                return True
            if not is_special:
                tried.add(batch.digest)
        return False

    def choose(self, batch: BatchRecord) -> WorkerRecord | None:
        """Let Dask decide between the least loaded workers that may take a batch."""
        found = least_loaded(self._workers, batch)
        return found[0] if len(found) == 1 else min(found, key=self._backlog, default=None)

    def _assign(self, batch: BatchRecord, worker: WorkerRecord) -> None:
        if batch.digest not in worker.known:
            self._define(batch.client, worker, batch.digest)
        batch.worker = worker.name
        worker.held[batch.key] = batch
        self._workers.send(worker, orders.Run(batch.key, batch.client.session, batch.digest, batch.spec))

    # ---- what becomes of them

    def news(self, worker: WorkerRecord, batch: BatchRecord, news: OfBatch) -> None:
        """Tell a client what its worker says of a batch, which may be its end."""
        client, kind = batch.client, kind_of(news)
        batch.heard += kind.must_arrive
        batch.is_begun = True
        number = client.deliver(worker.name, (kind.word, batch.ident, *news[1:]))
        if isinstance(news, Cut):
            client.cuts.append((number, batch.ident, news.job))
        if isinstance(news, End):
            worker.batches_done += 1
            del worker.held[batch.key]
            client.held.pop(batch.ident, None)
            client.ends.append((number, worker.name, batch.key))
            self._ended(batch, remainder(batch, news.reason, news.stop), number)
            self.place()

    def _ended(self, batch: BatchRecord, again: BatchRecord | None, number: int) -> None:
        """A batch has ended; ``again`` is what of it is to run once more, by its client or in its place."""
        client = batch.client
        if again is None:
            self.over(batch, number)
        elif client.is_detached:
            self.hold(again)
        else:
            client.names[batch.ident] = (batch.jobs, client.function_of(batch.digest))
            client.leftover[batch.ident] = again

    def over(self, batch: BatchRecord, number: int) -> None:
        """A batch is over; its last message has this number."""
        client = batch.client
        client.names[batch.ident] = (batch.jobs, client.function_of(batch.digest))
        if client.spool is not None:
            self._spool.ended(client, number, batch)
        client.news.set()

    def lost(self, worker: WorkerRecord, batch: BatchRecord) -> None:
        """A worker has a batch no more, and nobody knows how far it came."""
        batch.client.held.pop(batch.ident, None)
        self.over(batch, batch.client.deliver(worker.name, ("lost", batch.ident, batch.jobs)))

    def spoilt(self, worker: WorkerRecord, batch: BatchRecord) -> None:
        """A worker says of a batch what makes no sense: its client gets it back, and nobody else notices."""
        del worker.held[batch.key]
        self._workers.send(worker, orders.Drop([batch.key]))
        self.lost(worker, batch)
        self.place()

    def end_client(self, client: ClientSession) -> None:
        """Stop what a client has on workers, and let them forget its computations."""
        client.waiting.clear()
        for worker in self._workers:
            self._workers.send(worker, orders.Kill(client.session))
            for key in [key for key, batch in worker.held.items() if batch.client is client]:
                del worker.held[key]
            for digest in client.computations:
                if digest in worker.known:
                    worker.forget(digest)
                    self._workers.send(worker, orders.Forget(digest))
        self.place()
