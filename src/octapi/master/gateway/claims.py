"""Batches that an earlier process of the master held: clients claim them, and the workers that have them bring them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from octapi.master.gateway.batches import MASTER_ENDED
from octapi.master.gateway.session import BatchRecord
from octapi.protocol import orders

if TYPE_CHECKING:
    from octapi.master.gateway.batches import Batches
    from octapi.master.gateway.clients import Clients
    from octapi.master.gateway.placement import WorkerRecord
    from octapi.master.gateway.session import ClientSession
    from octapi.master.gateway.workers import Workers

#: how long a claimed batch may wait for the worker that has it, in seconds
CLAIM_S: Final = 30.0


class Claims:
    """Brings clients and workers together again."""

    def __init__(self, clients: Clients, workers: Workers, batches: Batches) -> None:
        self._clients = clients
        self._workers = workers
        self._batches = batches

    def take(self, client: ClientSession, epochs: dict[str, str], rows: list[list[Any]]) -> None:
        """Take what a client claims; ``epochs`` are the workers' as it knew them, by name.

        A row is a batch's number, its computation, its specification, how many messages of it came, and its worker
        if that is known.
        """
        for ident, digest, spec, heard, worker in rows:
            batch = BatchRecord(client, ident, digest, spec)
            batch.heard, batch.worker = heard, worker
            client.claims[ident] = batch
        client.worker_epochs = epochs
        self._wait(client)
        self.settle(client, asyncio.get_running_loop().time())

    def take_for(self, client: ClientSession, known: list[tuple[int, int, str]]) -> None:
        """Claim in the place of a client that is gone what is ``known`` of it, and what workers have of it."""
        client.names |= {ident: (jobs, function) for ident, jobs, function in known}
        for ident, jobs, _ in known:
            client.claims[ident] = BatchRecord(client, ident, "", {"jobs": jobs, "gone": True})
        brought = [
            ident for worker in self._workers for session, ident in worker.unclaimed if session == client.session
        ]
        for ident in brought:
            client.claims.setdefault(ident, BatchRecord(client, ident, "", {"jobs": 0, "gone": True}))
        self._wait(client)

    def _wait(self, client: ClientSession) -> None:
        """Wait for the workers that have what a client claims; some may have brought it already."""
        client.is_claiming = False
        client.claim_until = asyncio.get_running_loop().time() + CLAIM_S
        for worker in self._workers:
            self.sort(worker)

    def sort(self, worker: WorkerRecord) -> None:
        """Find the clients of the batches that a worker brought; what nobody waits for is dropped."""
        dropped = []
        for session, ident in sorted(worker.unclaimed):
            client = self._clients.by_session.get(session)
            if client is None or client.is_claiming:
                continue  # it may come
            worker.unclaimed.discard((session, ident))
            batch = client.claims.pop(ident, None)
            if batch is None:
                dropped.append((session, ident))
            else:
                self._adopt(worker, batch)
        if dropped:
            self._workers.send(worker, orders.Drop(dropped))

    def _adopt(self, worker: WorkerRecord, batch: BatchRecord) -> None:
        """Take a batch over that a worker has; it says again what its client has not heard."""
        batch.worker = worker.name
        batch.client.held[batch.ident] = batch
        worker.held[batch.key] = batch
        batch.is_muted = True
        self._workers.send(worker, orders.Replay(batch.key, batch.heard))
        for message in batch.told:
            self._workers.send(worker, message)
        batch.told.clear()

    def settle(self, client: ClientSession, now: float) -> None:
        """End the claims of batches that no worker can bring any more; ``now`` is the loop's time."""
        epochs = {worker.name: worker.info["life"] for worker in self._workers}
        all_back = not client.is_found and all(
            epochs.get(name) == epoch for name, epoch in client.worker_epochs.items()
        )
        for ident, batch in list(client.claims.items()):
            is_back = batch.worker in epochs if batch.worker is not None else all_back
            if not is_back and now < client.claim_until:
                continue
            del client.claims[ident]
            if client.is_found:
                self._batches.over(batch, client.deliver("", ("lost", ident, batch.jobs, MASTER_ENDED)))
            elif all_back and batch.worker is None:  # it never reached a worker
                client.deliver("", ("end", ident, "returned", batch.spec.get("skip", 0), {}))
            else:
                client.deliver(batch.worker or "", ("lost", ident, batch.jobs))
