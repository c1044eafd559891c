"""The dispatcher: one thread in the client that sends batches and hands out outcomes.

    Lane.submit ──> queue ──pump──> link ──> agents ──> slots
    Ticket.resolve <── records <── message <── link

Guarantees: every ticket is resolved exactly once; only the dispatcher starts attempts; a batch's
number is never used again, so a late answer to an earlier attempt is recognised and dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from octapi.dispatch import ticket as outcome
from octapi.dispatch.computation import File
from octapi.dispatch.faults import autopsy_error, lost_error, refused_error
from octapi.dispatch.flight import Flight
from octapi.dispatch.lane import Lane, Listener
from octapi.dispatch.ticket import Ticket, WorkerInfo
from octapi.dispatch.waiting import speak
from octapi.errors import ClusterClosed, JobError, MasterLost

if TYPE_CHECKING:
    from octapi.dispatch.computation import Computation
    from octapi.dispatch.flight import AnyFlight
    from octapi.dispatch.link import Link

Watcher = Callable[[str, WorkerInfo], None]


class Dispatcher:
    """Owns the link, the lanes, and the thread they live on."""

    def __init__(self, make_link: Callable[[], Link]) -> None:
        self._make_link = make_link
        self.link: Link | None = None
        self.client = uuid.uuid4().hex[:12]
        self.lanes: dict[str, Lane] = {}
        self.flights: dict[int, AnyFlight] = {}
        self.infos: dict[str, WorkerInfo] = {}
        self.slots = 1
        self.watchers: list[Watcher] = []
        self.is_closed = False
        self.is_broken: Exception | None = None
        self._idents = itertools.count(1)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="octapi-dispatcher", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    # ---- the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._failure = error
            self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.link = self._make_link()
        try:
            await self.link.start(self)
            self._started.set()
            speaking = self._loop.create_task(speak(self))
            await self._stop.wait()
            speaking.cancel()
        finally:
            await self.link.close()

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """Run ``function`` on the dispatcher's thread, soon."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is left to be told
            self._loop.call_soon_threadsafe(function, *args)

    # ---- from any thread

    def open(
        self,
        computation: Computation,
        *,
        limits: Mapping[str, int] | None = None,
        listener: Listener | None = None,
        worker_facts: Mapping[str, dict[str, Any]] | None = None,
    ) -> Lane:
        """Make a computation known to the cluster, and return the queue for its jobs."""
        if self.is_closed:
            raise ClusterClosed("The cluster was shut down. Make a new one.")
        lane = Lane(self, computation, limits, listener or Listener())
        lane.worker_facts.update(worker_facts or {})
        self.call(self._open, lane)
        return lane

    @property
    def kind(self) -> str:
        """``local`` or ``remote``."""
        return self.link.kind if self.link is not None else ""

    @property
    def recovery(self) -> dict[str, str]:
        """What another process needs to find this client's jobs if it crashes."""
        return self.link.recovery if self.link is not None else {}

    def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the workers there are now."""
        return tuple(self.infos.values())

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher("joined" | "left" | "health", worker)`` on the dispatcher's thread from now on."""
        self.watchers.append(watcher)

    def close(self, wait: bool = True) -> None:
        """Stop the thread, the link and, on this computer alone, the slots; jobs left end as cancelled."""
        self.is_closed = True
        self.call(self._close)
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    # ---- on the thread: lanes

    def _open(self, lane: Lane) -> None:
        self.lanes[lane.digest] = lane
        lane.define()

    def link_define(self, digest: str, spec: bytes, facts: dict[str, Any]) -> None:
        """Tell the link about a computation."""
        if self.link is not None and not self.is_broken:
            self.link.define(digest, spec, facts)

    def tell(self, worker: str | None, message: tuple[Any, ...]) -> None:
        """Send a message to one worker's agent, or to all."""
        if self.link is not None and not self.is_broken:
            self.link.tell(worker, message)

    def next_ident(self) -> int:
        """Return a batch number that was never used."""
        return next(self._idents)

    def close_lane(self, lane: Lane, terminate: bool) -> None:
        """Forget a lane; what is left of its jobs ends as cancelled."""
        if terminate:
            for entry in lane.unfinished():
                if isinstance(entry, Ticket):
                    self.cancel(lane, entry, 0.0)
        self.tell(None, ("forget", lane.digest))
        if not lane.flights:
            self.lanes.pop(lane.digest, None)

    def cancel(self, lane: Lane, ticket: Ticket, grace_s: float) -> None:
        """Take a job back or stop it."""
        if ticket.done:
            return
        flight: Flight | None = ticket.batch
        if flight is None:
            for queue in (lane.queue, lane.pinned):
                with contextlib.suppress(ValueError):
                    queue.remove(ticket)
            ticket.conclude(outcome.CANCELLED)
            return
        ticket.retries = -1
        self.tell(flight.worker, ("cancel", flight.ident, ticket.index, grace_s))

    # ---- on the thread: what the link reports

    def workers_changed(self, workers: dict[str, WorkerInfo]) -> None:
        """Take the workers there are now."""
        before, self.infos = self.infos, workers
        self.slots = max(1, sum(worker.slots for worker in workers.values()))
        for name in before.keys() - workers.keys():
            self._notify("left", before[name])
        for name, worker in workers.items():
            if name not in before:
                self._notify("joined", worker)
            elif worker != before[name]:
                self._notify("health", worker)
        for lane in list(self.lanes.values()):
            lane.ready_on &= workers.keys()
            lane.pump()

    def _notify(self, event: str, worker: WorkerInfo) -> None:
        for watcher in self.watchers:
            watcher(event, worker)

    def message(self, worker: str, message: tuple[Any, ...]) -> None:
        """Take one message of an agent."""
        getattr(self, f"on_{message[0]}")(worker, *message[1:])

    def on_begun(self, worker: str, ident: int, index: int) -> None:
        """A slot runs job ``index`` of a batch."""
        flight = self.flights.get(ident)
        info = self.infos.get(worker)
        if flight is None or info is None:
            return
        flight.worker = worker
        flight.begun(index, info, time.time())

    def on_results(self, worker: str, ident: int, records: bytes) -> None:
        """Some jobs of a batch are done."""
        flight = self.flights.get(ident)
        if flight is not None:
            flight.lane.batcher.measured(*flight.take(records, self.infos.get(worker)))

    def on_provisional(self, worker: str, ident: int, index: int, data: bytes) -> None:
        """A job handed in a provisional result."""
        flight, info = self.flights.get(ident), self.infos.get(worker)
        if isinstance(flight, Flight) and info is not None and not flight.tickets[index].done:
            flight.begun(index, info, time.time())
            flight.tickets[index].provisional(data)

    def on_file(self, worker: str, ident: int, index: int, path: str, data: bytes, mode: int, mtime: float) -> None:
        """A job sent a file."""
        flight = self.flights.get(ident)
        if flight is not None:
            ticket = flight.tickets[index] if isinstance(flight, Flight) else None
            flight.lane.listener.file(File(path, data, mode, mtime), ticket)

    def on_cut(self, worker: str, ident: int, index: int) -> None:
        """A batch overstays: its jobs from ``index`` on have not started and may go elsewhere."""
        flight = self.flights.get(ident)
        if flight is not None:
            self._give_back(flight, index)
            flight.lane.pump()

    def _give_back(self, flight: AnyFlight, index: int) -> None:
        flight.lane.back(flight.give_back(index))

    def on_end(self, worker: str, ident: int, reason: str, stop: int, info: dict[str, Any]) -> None:
        """A batch is over: all done, given back from ``stop`` on, refused, or its slot died at ``stop``."""
        flight = self.flights.pop(ident, None)
        if flight is None:
            return
        lane = flight.lane
        del lane.flights[ident]
        if reason == "died":
            self._autopsy(flight, stop, info)
            stop += 1
        elif reason == "refused":
            lane.refused_on[worker] = info.get("text", "")
        self._give_back(flight, 0 if reason in ("returned", "done", "refused") else stop)
        if reason == "refused":
            self._all_refused(lane)
        if lane.is_closed and not lane.flights:
            self.lanes.pop(lane.digest, None)
        lane.pump()

    def _autopsy(self, flight: AnyFlight, index: int, info: dict[str, Any]) -> None:
        """Fail the one job that ran when its slot died."""
        payload = flight.payload(index)
        if payload is None:
            return
        worker = self.infos.get(flight.worker or "")
        now = time.time()
        kind, data = outcome.CANCELLED, b""
        if info.get("why") != "cancelled":
            error = autopsy_error(flight.lane.computation, payload, flight.worker or "", info)
            kind, data = outcome.FAULT, pickle.dumps(error)
        flight.settle(index, kind, data, now - info.get("ran_s", 0.0), now, worker)

    def on_lost(self, worker: str, ident: int) -> None:
        """The worker of a batch is gone: its jobs run again if their retries allow it."""
        flight = self.flights.pop(ident, None)
        if flight is None:
            return
        del flight.lane.flights[ident]
        again, failed = flight.lost()
        for index in failed:
            payload = flight.payload(index) or b""
            error = lost_error(flight.lane.computation, payload, worker, *flight.attempts(index))
            flight.settle(index, outcome.FAULT, pickle.dumps(error), 0.0, time.time(), self.infos.get(worker))
        flight.lane.back(again)
        flight.lane.pump()

    def on_ready(self, worker: str, digest: str) -> None:
        """A computation is set up on a worker."""
        lane, info = self.lanes.get(digest), self.infos.get(worker)
        if lane is not None and info is not None:
            lane.refused_on.pop(worker, None)
            lane.ready_on.add(worker)
            lane.listener.ready(info)

    def on_refused(self, worker: str, digest: str, text: str) -> None:
        """A computation cannot be set up on a worker."""
        lane, info = self.lanes.get(digest), self.infos.get(worker)
        if lane is not None and info is not None:
            lane.refused_on[worker] = text
            lane.listener.refused(info, text)
            self._all_refused(lane)

    def _all_refused(self, lane: Lane) -> None:
        """Fail a lane's jobs when no worker can run them."""
        usable = [name for name in self.infos if lane.limits is None or lane.limits.get(name, 0) > 0]
        if usable and all(name in lane.refused_on for name in usable):
            error = refused_error(lane.computation, lane.refused_on)
            lane.fail_waiting(error)
            lane.fail([entry for flight in lane.flights.values() for entry in flight.ours()], error)

    def on_closed(self, worker: str, digest: str) -> None:
        """A computation was cleaned up on a worker."""
        lane, info = self.lanes.get(digest), self.infos.get(worker)
        if lane is not None and info is not None:
            lane.ready_on.discard(worker)
            lane.listener.closed(info)

    def link_lost(self, error: Exception) -> None:
        """The way to the slots is gone: every job that has no outcome fails and says so."""
        self.is_broken = error
        for lane in list(self.lanes.values()):
            unfinished = lane.unfinished()
            lane.queue.clear()
            lane.pinned.clear()
            lane.fail(unfinished, JobError(f"{error}", function=lane.computation.name, arguments="..."))
        self.flights.clear()

    def _close(self) -> None:
        for lane in list(self.lanes.values()):
            lane.is_closed = True
            lane.cancel_entries(lane.unfinished())
        if self._stop is not None:
            self._stop.set()

    def broken(self) -> MasterLost | None:
        """Return why no more jobs can run, if so."""
        return MasterLost(str(self.is_broken)) if self.is_broken is not None else None
