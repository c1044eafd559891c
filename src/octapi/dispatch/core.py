"""The dispatcher's rules: which batch goes out, and what an agent's message means for its jobs.

    Lane.submit ──> queue ──pump──> link ──> agents ──> slots
    Ticket.resolve <── records <── message <── link

Guarantees: every ticket is resolved exactly once; only the dispatcher starts attempts; a batch's
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
from typing import TYPE_CHECKING, Any

from octapi.dispatch import outcome
from octapi.dispatch.computation import File
from octapi.dispatch.faults import (
    ENDED_WORKER,
    WENT_AWAY,
    autopsy_error,
    batch_error,
    cause,
    file_error,
    is_own_end,
    lost_error,
    refused_error,
)
from octapi.dispatch.flight import Flight
from octapi.dispatch.lane import entry_size
from octapi.dispatch.outcome import SILENT, WorkerInfo
from octapi.dispatch.span import Span
from octapi.dispatch.story import PACE_S
from octapi.dispatch.teller import Teller
from octapi.dispatch.ticket import Ticket
from octapi.dispatch.wire import LASTING
from octapi.errors import Attempt, ClusterClosed, ClusterForked, JobError, ResultNotPicklable
from octapi.saying import say, story_of

if TYPE_CHECKING:
    from collections import deque

    from octapi.dispatch.flight import AnyFlight, Entry
    from octapi.dispatch.lane import Lane
    from octapi.dispatch.link import Link

#: how many different errors are said on stderr
COMPLAINTS = 100

Watcher = Callable[[str, WorkerInfo], None]


class Core:
    """The state of one client's dispatching."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.client = uuid.uuid4().hex[:12]
        self.lanes: dict[str, Lane] = {}
        self.flights: dict[int, AnyFlight] = {}
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
        self.teller = Teller()
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

    def run_safely(self, function: Callable[..., None], *args: Any) -> None:
        """Run ``function``; what it raises is said, and fails the jobs that it concerns."""
        try:
            function(*args)
        except BaseException as error:
            self.complain(error, getattr(function, "__qualname__", repr(function)))
            lane = next((it for it in (getattr(function, "__self__", None), *args) if hasattr(it, "spoil")), None)
            if lane is not None:
                tickets = [it for it in args if isinstance(it, Ticket)]
                lane.stumble(error, tickets)

    def complain(self, error: BaseException, where: str) -> None:
        """Say an error on stderr, once."""
        text = story_of(error)
        if text not in self._complaints and len(self._complaints) < COMPLAINTS:
            self._complaints.add(text)
            say(f"octapi: an error on the dispatcher's thread ({where}); the jobs that it concerns fail:\n{text}")

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """Run ``function`` where the state lives; here at once."""
        self.run_safely(function, *args)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Run ``function`` where the state lives after so many seconds; nobody waits for it here."""

    def call_and_wait(self, function: Callable[..., None], *args: Any) -> None:
        """Run ``function`` where the state lives, and return when it has run."""
        function(*args)

    # ---- lanes

    def usable(self, lane: Lane) -> list[WorkerInfo]:
        """Return the workers that may run a lane's jobs."""
        return lane.usable(self.infos.values())

    def capacity(self, lane: Lane) -> int:
        """Return how many slots a lane can use now."""
        return lane.slots_of(self.usable(lane))

    def add_lane(self, lane: Lane) -> None:
        """Take a computation, and tell the link about it."""
        lane.define()

    def link_define(self, digest: str, spec: bytes, facts: dict[str, Any]) -> None:
        """Tell the link about a computation."""
        if self.link is not None and not self.is_broken:
            self.link.define(digest, spec, facts)

    def tell(self, worker: str | None, message: tuple[Any, ...]) -> None:
        """Send a message to one worker's agent, or to all; what that raises concerns no job's outcome."""
        if self.link is not None and not self.is_broken:
            self.run_safely(self.link.tell, worker, message)

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
            return None
        flight: Flight | None = ticket.batch
        if flight is None:
            for entries in lane.waiting_lists():
                with contextlib.suppress(ValueError):
                    entries.remove(ticket)
            ticket.conclude(outcome.CANCELLED)
            self.teller.story.count("cancelled")
            return lane.rest()
        ticket.retries = -1
        return self.tell(flight.worker, ("cancel", flight.ident, ticket.index, grace_s))

    def summary(self) -> dict[str, Any]:
        """Return what people want to know: how many jobs wait, travel and are done, and of which functions."""
        lanes = list(self.lanes.values())
        waiting = sum(queue_size(entries) for lane in lanes for entries in lane.waiting_lists())
        flying = sum(flight.count() for flight in list(self.flights.values()))
        names = sorted(
            {lane.computation.name for lane in lanes if not lane.is_closed} | set(self.teller.story.functions)
        )
        slots, story = sum(worker.slots for worker in self.infos.values()), self.teller.story
        counts = {"waiting": waiting, "running": flying, "done": story.done + story.failed, "failed": story.failed}
        return counts | {"functions": names, "slots": slots}

    def retell(self) -> None:
        """Tell the whole story with the next report: the master may have missed some of it."""
        self.teller.story.retell()

    def set_pace(self, seconds: float) -> None:
        """Tell the master as often as it wants to hear; ``seconds`` between two reports."""
        self.pace_s = min(max(float(seconds), 0.2), 5.0)

    def set_others(self, others: int, placed: dict[int, str]) -> None:
        """So many other scripts have jobs at the master; these batches of this one are with workers, by number."""
        self.others, self.placed = int(others), dict(placed)

    def stop_jobs(self) -> None:
        """Cancel all jobs: somebody asked the master for it."""
        for lane in list(self.lanes.values()):
            lane.cancel_entries(lane.take_waiting())
            for flight in list(lane.flights.values()):
                flight.forbid()
                self.tell(flight.worker, ("stop", flight.ident, 1.0))
            lane.rest()

    def stop_job(self, ident: int) -> None:
        """Cancel the job of a batch that runs now: somebody asked the master for it."""
        flight = self.flights.get(ident)
        if isinstance(flight, Flight):
            entry = next((ticket for ticket in flight.ours() if ticket.index >= flight.current), None)
            if entry is not None:
                self.cancel(flight.lane, entry, 1.0)
        elif flight is not None:
            self.tell(flight.worker, ("cancel", ident, flight.current, 1.0))

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
        for lane in list(self.lanes.values()):
            self.run_safely(lane.workers_changed, workers.keys(), fresh)

    def _notify(self, event: str, worker: WorkerInfo) -> None:
        for watcher in list(self.watchers):
            self.run_safely(watcher, event, worker)

    def message(self, worker: str, message: tuple[Any, ...]) -> None:
        """Take one message of an agent, or of the gateway about a batch."""
        flight = None
        try:
            kind, subject, *rest = message
            flight = self.flights.get(subject)
            if flight is not None and kind in LASTING:
                flight.heard += 1
            getattr(self, f"on_{kind}")(worker, subject, *rest)
        except BaseException as error:  # whatever a message holds, the next ones are heard
            self._mishandled(worker, message, flight, error)

    def _mishandled(self, worker: str, message: Any, flight: AnyFlight | None, error: BaseException) -> None:
        kind = message[0] if isinstance(message, tuple | list) and message else message
        self.complain(error, f"a message {str(kind)[:20]!r} of {worker}")
        if flight is not None:
            self._give_up(flight, error)
        for lane in list(self.lanes.values()):
            self.run_safely(lane.pump)

    def _give_up(self, flight: AnyFlight, error: BaseException) -> None:
        """Fail what is left of a batch whose messages cannot be handled."""
        lane = flight.lane
        self.flights.pop(flight.ident, None)
        lane.flights.pop(flight.ident, None)
        lane.spoil(flight.ours(), error)
        self.tell(flight.worker, ("stop", flight.ident, 0.0))
        if lane.is_closed and not lane.flights:
            self.lanes.pop(lane.digest, None)

    def on_dropped(self, worker: str, ident: int, stop: int, info: dict[str, Any]) -> None:
        """An agent has stopped a batch that nobody waits for."""

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
            count, busy = flight.take(records, self.infos.get(worker))
            flight.lane.batcher.measured(count, busy)

    def on_provisional(self, worker: str, ident: int, index: int, data: bytes) -> None:
        """A job handed in a provisional result."""
        flight, info = self.flights.get(ident), self.infos.get(worker)
        if isinstance(flight, Flight) and info is not None and not flight.tickets[index].done:
            flight.begun(index, info, time.time())
            try:
                flight.tickets[index].provisional(data)
            except BaseException as error:
                text = f"Its provisional result cannot be taken here: {type(error).__name__}: {error}"
                self._fail_running(flight, index, ResultNotPicklable(text, function=flight.lane.computation.name))

    def on_file(self, worker: str, ident: int, index: int, path: str, data: bytes, mode: int, mtime: float) -> None:
        """A job sent a file."""
        flight = self.flights.get(ident)
        if flight is not None:
            ticket = flight.tickets[index] if isinstance(flight, Flight) else None
            try:
                flight.lane.listener.file(File(path, data, mode, mtime), ticket)
            except BaseException as error:
                self._fail_running(flight, index, file_error(path, error, flight.lane.computation.name, worker))

    def _fail_running(self, flight: AnyFlight, index: int, error: JobError) -> None:
        """Fail a job whose news cannot be used here, and stop it."""
        payload = flight.payload(index)
        if payload is None:
            return
        now, data = time.time(), pickle.dumps(error)
        worker = self.infos.get(flight.worker or "")
        place = worker, flight.lane.computation.name
        self.run_safely(self.teller.unrun, place, (outcome.FAULT, data), 0.0, payload)
        flight.settle(index, outcome.FAULT, data, now, now, worker)
        self.tell(flight.worker, ("cancel", flight.ident, index, 0.5))

    def on_cut(self, worker: str, ident: int, index: int) -> None:
        """A batch overstays: its jobs from ``index`` on have not started and may go elsewhere."""
        flight = self.flights.get(ident)
        if flight is not None:
            self._give_back(flight, index)
            flight.lane.pump()

    def _give_back(self, flight: AnyFlight, index: int) -> None:
        self._bring_back(flight.lane, flight.give_back(index))

    def _bring_back(self, lane: Lane, entries: list[Entry]) -> None:
        """Queue jobs again that are no batch's any more; if that cannot be, they fail."""
        try:
            lane.back(entries)
        except BaseException as error:
            self.complain(error, f"jobs of {lane.computation.name} that come back")
            lane.spoil(entries, error)

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
        elif reason == "refused" and info.get("is_batch"):
            lane.fail(flight.ours(), batch_error(str(info.get("text")), lane.computation.name, worker))
        elif reason == "refused":
            lane.refused_on[worker] = info.get("text", "")
        self._give_back(flight, 0 if reason in ("returned", "done", "refused") else stop)
        if reason == "refused":
            self._all_refused(lane)
        if lane.is_closed and not lane.flights:
            self.lanes.pop(lane.digest, None)
        lane.pump()

    def _autopsy(self, flight: AnyFlight, index: int, info: dict[str, Any]) -> None:
        """Start the one job that ran when its slot died once more elsewhere, if that is allowed; else it fails."""
        payload = flight.payload(index)
        if payload is None:
            return None
        name, now = flight.worker or "", time.time()
        kind, data = outcome.CANCELLED, b""
        if info.get("why") != "cancelled":
            if info.get("why") != "timeout":
                attempt = Attempt(name, cause(info), now)
                others = 0 if is_own_end(info) else self._others(flight, index)
                again = flight.died(index, attempt, self.crash_workers, others)
                if again is not None:
                    self.teller.story.count("retried")
                    return self._bring_back(flight.lane, [again])
            error = autopsy_error(flight.lane.computation, payload, name, info, flight.past(index))
            kind, data = outcome.FAULT, pickle.dumps(error)
        worker, ran_s = self.infos.get(name), info.get("ran_s", 0.0)
        place = worker, flight.lane.computation.name
        self.run_safely(self.teller.unrun, place, (kind, data), ran_s, payload)
        return flight.settle(index, kind, data, now - ran_s, now, worker)

    def _others(self, flight: AnyFlight, index: int) -> int:
        """Return on how many workers a job could run where it has not been."""
        been = {attempt.worker for attempt in flight.past(index)} | {flight.worker}
        return sum(worker.name not in been for worker in self.usable(flight.lane))

    def on_lost(self, worker: str, ident: int, jobs: int = 0, text: str = "") -> None:
        """The worker of a batch is gone: its jobs run again if their retries allow it.

        The one that ran when the worker's process ended may be the reason: it is tried on few more.
        """
        flight = self.flights.pop(ident, None)
        if flight is None:
            return
        del flight.lane.flights[ident]
        suspect = self._suspect(flight, worker)
        again, failed = flight.lost(Attempt(worker, WENT_AWAY, time.time()))
        if suspect is not None:
            again = [suspect, *without(again, suspect)]
        self._bring_back(flight.lane, again)
        for index in failed:
            self._fail_lost(flight, index, worker)
        self.teller.story.count("retried", sum(entry_size(entry) for entry in again))
        flight.lane.pump()

    def _suspect(self, flight: AnyFlight, worker: str) -> Entry | None:
        """Return the job that ran when its worker's process ended, if it may run again; else it fails."""
        if flight.worker != worker or self.went.get(worker, SILENT) == SILENT or flight.payload(flight.current) is None:
            return None
        index = flight.current
        past = flight.past(index)
        guiltless = {attempt.worker for attempt in past if attempt.cause == WENT_AWAY}
        guiltless -= {worker} | {attempt.worker for attempt in past if attempt.cause != WENT_AWAY}
        most = self.crash_workers + len(guiltless)
        again = flight.died(
            index, Attempt(worker, ENDED_WORKER, time.time()), most, max(1, self._others(flight, index))
        )
        if again is None:
            self._fail_lost(flight, index, worker)
        return again

    def _fail_lost(self, flight: AnyFlight, index: int, worker: str) -> None:
        """Fail a job that was lost with its worker."""
        payload = flight.payload(index) or b""
        error = lost_error(flight.lane.computation, payload, worker, flight.past(index), flight.most(index))
        data = pickle.dumps(error)
        place = self.infos.get(worker), flight.lane.computation.name
        self.run_safely(self.teller.unrun, place, (outcome.FAULT, data), 0.0, payload)
        flight.settle(index, outcome.FAULT, data, 0.0, time.time(), self.infos.get(worker))

    def on_ready(self, worker: str, digest: str) -> None:
        """A computation is set up on a worker."""
        lane, info = self.lanes.get(digest), self.infos.get(worker)
        if lane is not None and info is not None:
            lane.refused_on.pop(worker, None)
            lane.ready_on.add(worker)
            self.run_safely(lane.listener.ready, info)

    def on_refused(self, worker: str, digest: str, text: str) -> None:
        """A computation cannot be set up on a worker."""
        lane, info = self.lanes.get(digest), self.infos.get(worker)
        if lane is not None and info is not None:
            lane.refused_on[worker] = text
            self.run_safely(lane.listener.refused, info, text)
            self._all_refused(lane)

    def _all_refused(self, lane: Lane) -> None:
        """Fail a lane's jobs when no worker can run them."""
        if lane.is_refused(self.usable(lane)):
            error = refused_error(lane.computation, lane.refused_on)
            lane.fail_waiting(error)
            lane.fail([entry for flight in lane.flights.values() for entry in flight.ours()], error)

    def on_closed(self, worker: str, digest: str) -> None:
        """A computation was cleaned up on a worker."""
        lane, info = self.lanes.get(digest), self.infos.get(worker)
        if lane is not None and info is not None:
            lane.ready_on.discard(worker)
            self.run_safely(lane.listener.closed, info)

    def master_renewed(self) -> None:
        """Another process of the master answers: tell it what there is, and what is on its way."""
        assert self.link is not None
        flights = list(self.flights.values())
        for lane in list(self.lanes.values()):
            lane.introduce()
        self.link.claim([flight.claim() for flight in flights])
        for flight in flights:
            indexes = flight.cancelled()
            if indexes is None:
                self.tell(flight.worker, ("stop", flight.ident, 1.0))
            for index in indexes or ():
                self.tell(flight.worker, ("cancel", flight.ident, index, 1.0))
        for lane in list(self.lanes.values()):
            lane.pump()

    def link_lost(self, error: Exception) -> None:
        """The way to the slots is gone: every job that has no outcome fails and says so."""
        self.is_broken = error
        for lane in list(self.lanes.values()):
            flying = [entry for flight in lane.flights.values() for entry in flight.ours()]
            lane.fail([*lane.take_waiting(), *flying], error)
            lane.flights.clear()
        self.flights.clear()

    def cancel_everything(self) -> None:
        """End all jobs that have no outcome as cancelled."""
        for lane in list(self.lanes.values()):
            lane.is_closed = True
            flying = [entry for flight in lane.flights.values() for entry in flight.ours()]
            lane.cancel_entries([*lane.take_waiting(), *flying])


def forked_error(pid: int) -> ClusterForked:
    """Return the error for a process that uses a cluster of the one that it was forked from."""
    return ClusterForked(
        f"This cluster belongs to the process {pid}, from which this one was forked. Make a Cluster here, or submit "
        "the jobs there."
    )


def queue_size(entries: deque[Entry]) -> int:
    """Return how many jobs wait in a queue; single jobs are not looked at one by one, they may be millions."""
    if not entries or not isinstance(entries[0], Span):
        return len(entries)
    return sum(len(entry) if isinstance(entry, Span) else 1 for entry in list(entries))


def without(entries: list[Entry], suspect: Entry) -> list[Entry]:
    """Return what a lost batch gives back, without the one job that goes its own way."""
    if not isinstance(suspect, Span):
        return entries
    found: list[Entry] = []
    for entry in entries:
        if isinstance(entry, Span) and entry.start <= suspect.start < entry.stop:
            parts = (entry.start, suspect.start), (suspect.stop, entry.stop)
            found += [entry.piece(start, stop) for start, stop in parts if start < stop]
        else:
            found.append(entry)
    return found
