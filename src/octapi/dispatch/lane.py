"""The queue of one computation in one client, and the batches it has on their way."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from octapi.dispatch import wire
from octapi.dispatch.batcher import Batcher
from octapi.errors import ClusterClosed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from octapi.dispatch.computation import Computation, File
    from octapi.dispatch.dispatcher import Dispatcher
    from octapi.dispatch.ticket import Ticket, WorkerInfo

import msgpack


class Listener:
    """What wants to know about a computation's life on workers; every method may be overridden."""

    def ready(self, worker: WorkerInfo) -> None:
        """The computation is set up on ``worker``."""

    def refused(self, worker: WorkerInfo, text: str) -> None:
        """It could not be loaded or set up there; ``text`` is the traceback."""

    def closed(self, worker: WorkerInfo) -> None:
        """It was cleaned up there."""

    def file(self, path: str, data: bytes, mode: int, mtime: float) -> None:
        """A job sent a file; ``path`` is relative."""


class Flight:
    """A batch on its way."""

    __slots__ = ("ident", "lane", "tickets", "worker")

    def __init__(self, ident: int, lane: Lane, tickets: list[Ticket]) -> None:
        self.ident = ident
        self.lane = lane
        self.tickets = tickets
        self.worker: str | None = None


class Lane:
    """One computation's jobs in one client.  ``submit``, ``cancel`` and ``close`` may be called from any thread."""

    numbers = itertools.count(1)

    def __init__(
        self, dispatcher: Dispatcher, computation: Computation, limits: Mapping[str, int] | None, listener: Listener
    ) -> None:
        self.dispatcher = dispatcher
        self.computation = computation
        self.listener = listener
        self.limits = None if limits is None else dict(limits)
        self.worker_args: dict[str, bytes] = {}
        self.number = next(self.numbers)
        self.spec = computation.to_bytes()
        self.digest = f"{computation.digest()}-{dispatcher.client}-{self.number}"
        self.queue: deque[Ticket] = deque()
        self.pinned: deque[Ticket] = deque()
        self.flights: dict[int, Flight] = {}
        self.batcher = Batcher()
        self.asleep = True
        self.ready_on: set[str] = set()
        self.refused_on: dict[str, str] = {}
        self.is_closed = False

    # ---- from any thread

    def submit(self, ticket: Ticket) -> None:
        """Queue a job; never blocks.  Raises :exc:`ClusterClosed` after :meth:`close`."""
        if self.is_closed or self.dispatcher.is_closed:
            raise ClusterClosed("The cluster was shut down, so it takes no more jobs. Make a new one.")
        ticket.lane = self
        if ticket.worker is None and not ticket.code and not ticket.files:
            self.queue.append(ticket)
        else:
            self.pinned.append(ticket)
        if self.asleep:
            self.asleep = False
            self.dispatcher.call(self.pump)

    def cancel(self, ticket: Ticket, grace_s: float = 1.0) -> bool:
        """Take a job back, or stop it if it runs; False if it was done already."""
        if ticket.done:
            return False
        self.dispatcher.call(self.dispatcher.cancel, self, ticket, grace_s)
        return True

    def set_limits(self, limits: Mapping[str, int] | None) -> None:
        """Say anew which workers may run it, and how many jobs at once each."""
        self.limits = None if limits is None else dict(limits)
        self.dispatcher.call(self.define)

    def set_setup_args(self, worker: str, args: bytes) -> None:
        """Give one worker setup arguments of its own (a pickled tuple)."""
        self.worker_args[worker] = args

    def renew(self, worker: str) -> None:
        """Run cleanup and setup again on one worker."""
        facts = {"setup_args": self.worker_args.get(worker, b""), "limit": (self.limits or {}).get(worker)}
        self.dispatcher.call(self.dispatcher.tell, worker, ("renew", self.digest, facts))

    def drop(self, worker: str) -> None:
        """Clean up on one worker; it gets no more jobs."""
        self.dispatcher.call(self.dispatcher.tell, worker, ("forget", self.digest))

    def send_file(self, file: File, worker: str) -> None:
        """Put a file into the computation's directory on one worker."""
        row = (file.path, file.data, file.mode, file.mtime)
        self.dispatcher.call(self.dispatcher.tell, worker, ("file", self.digest, row))

    def close(self, terminate: bool = False) -> None:
        """Forget the computation everywhere; with ``terminate`` its jobs are stopped first."""
        if not self.is_closed:
            self.is_closed = True
            self.dispatcher.call(self.dispatcher.close_lane, self, terminate)

    @property
    def pending(self) -> int:
        """The number of jobs that have no outcome yet."""
        flying = sum(not t.done and t.batch is f for f in list(self.flights.values()) for t in f.tickets)
        return len(self.queue) + len(self.pinned) + flying

    # ---- on the dispatcher's thread

    def define(self) -> None:
        """Tell the link about the computation."""
        facts = {
            "limits": self.limits,
            "worker_args": self.worker_args,
            "python": self.computation.python if self.computation.python_bound else "",
            "name": self.computation.name,
        }
        self.dispatcher.link_define(self.digest, self.spec, facts)
        self.pump()

    def pump(self) -> None:
        """Send batches while there are jobs and room for them."""
        link = self.dispatcher.link
        if link is None or self.dispatcher.is_broken:
            return
        slots = link.capacity(self.limits)
        room = self.batcher.in_flight(slots) - len(self.flights)
        while self.pinned and slots:
            self.fly([self.pinned.popleft()])
        while room > 0 and self.queue and slots:
            count = self.batcher.size(len(self.queue), slots)
            tickets = [ticket for ticket in self.take(count) if not ticket.done]
            if tickets:
                self.fly(tickets)
                room -= 1
        if not self.queue:
            self.asleep = True
            if self.queue:  # one was added between the two lines
                self.asleep = False
                self.dispatcher.call(self.pump)

    def take(self, count: int) -> list[Ticket]:
        """Take the next jobs from the queue."""
        popleft = self.queue.popleft
        return [popleft() for _ in range(count)]

    def fly(self, tickets: list[Ticket]) -> None:
        """Send some jobs as one batch."""
        flight = Flight(self.dispatcher.next_ident(), self, tickets)
        first = tickets[0]
        for index, ticket in enumerate(tickets):
            ticket.batch = flight
            ticket.index = index
        facts: dict[str, Any] = {
            "form": wire.JOBS,
            "data": msgpack.packb([ticket.payload for ticket in tickets]),
            "jobs": len(tickets),
            "budget_s": self.batcher.budget_s(self.dispatcher.slots),
            "timeout_s": self.computation.timeout_s,
            "worker": first.worker,
        }
        if first.code or first.files:
            facts["extra"] = [first.code, [(f.path, f.data, f.mode, f.mtime) for f in first.files]]
        self.flights[flight.ident] = flight
        self.dispatcher.flights[flight.ident] = flight
        assert self.dispatcher.link is not None
        self.dispatcher.link.run(flight.ident, self.number, self.digest, facts)

    def back(self, tickets: list[Ticket]) -> None:
        """Put jobs that did not start back to the head of the queue."""
        for ticket in reversed(tickets):
            ticket.batch = None
            if ticket.worker is None and not ticket.code and not ticket.files:
                self.queue.appendleft(ticket)
            else:
                self.pinned.appendleft(ticket)
