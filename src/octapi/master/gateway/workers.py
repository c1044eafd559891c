"""The workers that are connected: who they are, and the way to each of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from octapi.engine.dask_frames import operation
from octapi.master.gateway.handshake import FACTS
from octapi.protocol import orders
from octapi.protocol.messages import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from octapi.engine.dask_nodes import QuietScheduler
    from octapi.master.gateway.placement import WorkerRecord

#: how long news of workers' health are collected before others are told, in seconds
HEALTH_S: Final = 1.0
#: how long a worker that was sent away may take to go, in seconds
LEAVE_S: Final = 5.0


class Workers:
    """Connected workers by name.  ``on_change`` is called with their rows when something of them is another."""

    def __init__(self, scheduler: QuietScheduler, on_change: Callable[[list[dict[str, Any]]], None]) -> None:
        self._scheduler = scheduler
        self._on_change = on_change
        self.by_name: dict[str, WorkerRecord] = {}
        #: the epochs of the workers that are to take no more batches, by name
        self.draining: dict[str, str] = {}
        self._telling: asyncio.TimerHandle | None = None
        self._removing: set[asyncio.Future[Any]] = set()

    def __iter__(self) -> Iterator[WorkerRecord]:
        return iter(list(self.by_name.values()))

    def at(self, address: str) -> WorkerRecord | None:
        """Return the worker at one of Dask's addresses."""
        return next((worker for worker in self if worker.address == address), None)

    def slots(self) -> int:
        """Return how many slots there are now."""
        return sum(worker.slots for worker in self)

    def rows(self) -> list[dict[str, Any]]:
        """Return the workers as clients read them."""
        return [{key: worker.info[key] for key in FACTS} | {"state": worker.state} for worker in self]

    # ---- the way to them

    def send(self, worker: WorkerRecord, message: Any) -> None:
        """Send one of :mod:`octapi.protocol.orders` over Dask's connection to a worker.

        One that has just left has no connection any more, a moment before it is told as lost with all that it holds.
        """
        if worker.address in self._scheduler.stream_comms:
            self._scheduler.worker_send(worker.address, operation(plain(message)))

    def send_all(self, message: Any) -> None:
        """Send one message to every worker."""
        for worker in self:
            self.send(worker, message)

    def bytes_read(self, worker: WorkerRecord) -> int:
        """Return how much has come over a worker's connection, the message that comes just now included."""
        stream = self._scheduler.stream_comms.get(worker.address)
        found = getattr(getattr(stream, "comm", None), "stream", None)
        return int(getattr(found, "_total_read_index", 0)) + int(getattr(found, "_read_buffer_size", 0))

    def send_away(self, address: str, why: str) -> None:
        """Tell who connected as a worker why it may not be here; one that does not go is hung up on."""
        stream = self._scheduler.stream_comms.get(address)
        if stream is not None:
            self._scheduler.worker_send(address, operation(plain(orders.Refuse(why))))
            asyncio.get_running_loop().call_later(LEAVE_S, self._remove_if_still, address, stream)

    def _remove_if_still(self, address: str, stream: Any) -> None:
        if self._scheduler.stream_comms.get(address) is stream:
            self.remove(address)

    def remove(self, address: str) -> None:
        """Let Dask forget a worker; Dask then says so to all who listen."""
        comm = self._scheduler.stream_comms.get(address)
        removing = asyncio.ensure_future(
            self._scheduler.remove_worker(address=address, stimulus_id="octapi-silent", close=False)
        )
        self._removing.add(removing)
        removing.add_done_callback(self._removing.discard)
        if comm is not None:
            comm.abort()

    # ---- telling others

    def changed_soon(self) -> None:
        """Tell others before long: something changed that is not urgent."""
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(HEALTH_S, self.changed)

    def changed(self) -> None:
        """Tell others which workers there are, and how they are."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._on_change(self.rows())
