"""Clients and their batches as the gateway holds them.

Each client has a *session*, which outlives its connections.  What agents report to it goes through an outbox, and is
kept there until the client has acknowledged it; while the client is away its batches go on.  Its states are
:class:`~octapi.master.gateway.client_state.ClientState`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from octapi.master.gateway.client_state import ClientEvent, ClientState, moved
from octapi.protocol import replies, wire
from octapi.protocol.messages import plain
from octapi.protocol.reliable import Outbox, ReceivedCounter
from octapi.protocol.specs import ComputationFacts
from octapi.store.runs import digest
from octapi.telemetry.run_trace import RunTrace

if TYPE_CHECKING:
    from octapi.master.gateway.outcome_spool import OutcomeSpool
    from octapi.protocol.specs import BatchSpec
    from octapi.protocol.stream import FrameStream
    from octapi.trust.names import Peer

log = logging.getLogger("octapi.master.gateway")

#: a client that has so much to fetch gets no more batches placed, in bytes
OUTBOX_LIMIT: Final = 256 << 20
#: how much else may wait for a client that does not read, in bytes
UNREAD_LIMIT: Final = 16 << 20
#: how long a session lasts without a connection unless its client says otherwise, and the longest, in seconds
ABSENCE_S: Final = 600.0
LONGEST_ABSENCE_S: Final = 7 * 86400.0


class BatchRecord:
    """A batch that the master holds.

    ``heard`` is how many of the worker's messages its client has had; while ``is_muted`` what the worker says is
    ignored, because it will say it again.
    """

    __slots__ = ("client", "digest", "heard", "ident", "is_begun", "is_muted", "jobs", "key", "spec", "told", "worker")

    def __init__(self, client: ClientSession, ident: int, digest: str, spec: BatchSpec) -> None:
        self.client = client
        self.ident = ident
        self.key = (client.session, ident)
        self.digest = digest
        self.spec = spec
        #: how many jobs are this batch's: fewer once its client knows that it was cut, for it sends the rest again
        self.jobs: int = spec["jobs"]
        self.worker: str | None = None
        self.heard = 0
        self.is_muted = False
        #: whether a slot of its worker has begun it
        self.is_begun = False
        #: what its client wanted to tell its worker while that was not here
        self.told: list[Any] = []

    @property
    def most(self) -> int:
        """Return how many jobs its worker may speak of; one that the last master knew may have had more."""
        found: int = (1 << 32) - 1 if self.spec.get("gone") else self.spec["jobs"]
        return found


class ClientSession:
    """One client's session."""

    numbers = itertools.count(1)

    def __init__(self, writer: FrameStream | None, facts: dict[str, Any], peer: Peer | None = None) -> None:
        self.number = next(self.numbers)
        self.writer = writer
        self.facts = facts
        self.peer = peer
        self.session = str(facts.get("session") or f"question-{self.number}")
        self.token = str(facts.get("token") or "")
        #: what is kept of its key: with the key, others may fetch its outcomes
        self.secret = digest(self.token) if self.token else ""
        self.is_recoverable = bool(facts.get("recoverable"))
        self.absence_s = absence_of(facts)
        self.state = ClientState.ABSENT if writer is None else ClientState.CONNECTED
        self.waiting: deque[BatchRecord] = deque()
        self.held: dict[int, BatchRecord] = {}
        #: batches of a client that another master's process held, until a worker brings them
        self.claims: dict[int, BatchRecord] = {}
        #: parts of batches that the client will send again, if it lives
        self.leftover: dict[int, BatchRecord] = {}
        #: ends of batches that it has not acknowledged: the frame's number, the worker, the batch
        self.ends: deque[tuple[int, str, tuple[str, int]]] = deque()
        #: where batches were cut, which it has not acknowledged: the frame's number, the batch, its jobs that stay
        self.cuts: deque[tuple[int, int, int]] = deque()
        #: what it claims: the workers' lives as it knew them, and until when they are waited for
        self.is_claiming = bool(facts.get("again"))
        self.worker_epochs: dict[str, str] = {}
        self.claim_until = 0.0
        self.computations: dict[str, tuple[wire.Blob, ComputationFacts]] = {}
        self.outbox = Outbox()
        self.counter = ReceivedCounter()
        self.summary: dict[str, Any] = {}
        #: what it was told last of other scripts, and of its batches that have not begun
        self.others: tuple[int, dict[int, str]] = (0, {})
        #: the id of its run, and whether that was written down: only clients that bring work are runs
        self.run = ""
        self.is_run = False
        self.story: RunTrace | None = None
        #: batches that are over and that it has not acknowledged: their jobs and their function, by number
        self.names: dict[int, tuple[int, str]] = {}
        #: where its outcomes are kept while it is away, their bytes there, and the batches that did not fit
        self.spool: OutcomeSpool | None = None
        self.stored = 0
        self.short: set[int] = set()
        #: the first message that the database could not take, so that it is in memory only; 0 for none
        self.behind = 0
        #: whether the last master's book told of it, and it has not been seen by this one
        self.is_found = False
        #: whether it was an orphan of the last master, so that what is on disk of it is nowhere else
        self.was_detached = False
        #: who fetches its outcomes, and a sign that there are more
        self.fetcher: ClientSession | None = None
        self.news = asyncio.Event()
        self.fetching: list[ClientSession] = []
        self.pouring: asyncio.Task[None] | None = None
        #: the writing of its outcomes that goes on just now
        self.safe: asyncio.Future[None] | None = None
        self.since = time.time()
        self.expiry: asyncio.TimerHandle | None = None
        self.heard_at = self.pulsed_at = self.left_at = asyncio.get_running_loop().time()

    @property
    def keeps(self) -> bool:
        """Say whether it has a session that outlives its connection."""
        return bool(self.token)

    @property
    def is_away(self) -> bool:
        """Say whether its script is not connected."""
        return self.state not in (ClientState.CONNECTED, ClientState.LEAVING)

    @property
    def is_detached(self) -> bool:
        """Say whether the master acts for it."""
        return self.state is ClientState.DETACHED

    def take(self, event: ClientEvent) -> None:
        """Take what happened to it."""
        self.state = moved(self.state, event)

    @property
    def is_full(self) -> bool:
        """Say whether it must fetch what is there before more of its batches start."""
        return self.outbox.bytes > OUTBOX_LIMIT

    def is_alive(self) -> None:
        """Take a sign of life."""
        self.heard_at = asyncio.get_running_loop().time()

    def send(self, message: Any) -> None:
        """Send one of :mod:`octapi.protocol.replies`, if it is connected.

        Who asks and asks and reads no answer is cut off: what waits for it lies in this process's memory.  What is kept
        of others is poured out as fast as it is read.
        """
        if self.writer is None or self.writer.is_closing():
            return
        if self.writer.unsent > self.outbox.bytes + UNREAD_LIMIT and not self.fetching:
            log.warning(f"hung up on run {self.run}: it does not read what it is told.")
            self.writer.abort()
            return
        self.writer.write(wire.pack(plain(message)))

    def deliver(self, worker: str, message: tuple[Any, ...]) -> int:
        """Send what an agent, or the gateway in its place, says of a batch, or keep it; return the frame's number."""
        frame = wire.frame(plain(replies.FromAgent(worker, message)))
        number = self.outbox.append(frame) if self.keeps else 0
        if self.spool is not None:
            self.spool.keep(self, number, message, frame)
        self.news.set()
        if self.writer is not None and not self.writer.is_closing():
            wire.write(self.writer, (frame,))
        return number

    def seen(self, number: int) -> dict[str, list[tuple[str, int]]]:
        """Forget what its script has; return the batches that are over for good, by worker."""
        self.outbox.acknowledge(number)
        while self.cuts and self.cuts[0][0] <= number:
            _, ident, jobs = self.cuts.popleft()
            held = self.held.get(ident) or self.leftover.get(ident)
            if held is not None and not self.is_detached:
                held.jobs = min(held.jobs, jobs)
        over: dict[str, list[tuple[str, int]]] = {}
        while self.ends and self.ends[0][0] <= number:
            _, worker, key = self.ends.popleft()
            over.setdefault(worker, []).append(key)
            self.leftover.pop(key[1], None)
            self.names.pop(key[1], None)
        return over

    def function_of(self, digest: str) -> str:
        """Return the name of the function of one of its computations; an empty text if that is not known."""
        _, facts = self.computations.get(digest, (b"", ComputationFacts()))
        return str(facts.get("name") or "")

    @property
    def is_complete(self) -> bool:
        """Say whether nothing more will come of its jobs."""
        return not (self.held or self.claims or self.leftover or self.is_claiming)

    def write(self, frame: wire.Frame | bytes) -> None:
        """Send a frame that is packed already.  Raises ConnectionError when it is not connected."""
        if self.writer is None or self.writer.is_closing():
            raise ConnectionResetError("it is gone")
        wire.write(self.writer, (frame,))

    async def drain(self) -> None:
        """Wait until what was sent is on its way."""
        if self.writer is not None:
            await self.writer.drain()

    def acknowledge(self) -> None:
        """Tell it what came of what it sent; also a sign of life."""
        self.send(replies.Seen(self.counter.tell()))

    def attach(self, writer: FrameStream) -> None:
        """Go on over another connection."""
        old, self.writer = self.writer, writer
        self.take(ClientEvent.BACK)
        if old is not None:
            old.close()
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None
        self.heard_at = asyncio.get_running_loop().time()

    def catch_up(self, number: int) -> None:
        """Send what followed frame ``number``."""
        if self.writer is not None:
            wire.write(self.writer, self.outbox.since(number))

    def row(self) -> dict[str, Any]:
        """Describe it for people: its script, since when (epoch seconds) it is here, and its jobs."""
        facts = {key: self.facts.get(key) for key in ("script", "user", "host", "pid")}
        batches = {"batches": len(self.held), "is_detached": self.is_away}
        left = dict(zip(("waiting", "running"), self.left(), strict=True))
        return {"number": self.number, "run": self.run, **facts, "since": self.since, **batches, **self.summary, **left}

    def left(self) -> tuple[int, int]:
        """Return how many of its jobs wait and run: what it says itself, or of one that is gone what is here of it."""
        if not self.is_detached:
            told = (self.summary.get(key) for key in ("waiting", "running"))
            waiting, running = (number if isinstance(number, int) else 0 for number in told)
            return waiting, running
        waiting = sum(held.jobs for held in self.waiting)
        return waiting, max(0, sum(held.jobs for held in self.held.values()) - waiting)

    def take_story(self, news: dict[str, Any]) -> None:
        """Take what is new in its story.  Raises TypeError, ValueError or LookupError for anything that is none."""
        if self.story is None:
            self.story = RunTrace()
        self.story.merge(news)


def absence_of(facts: dict[str, Any]) -> float:
    """Return how long a client's session is to last without a connection, in seconds."""
    return min(facts.get("absence_s") or ABSENCE_S, LONGEST_ABSENCE_S)


def remainder(held: BatchRecord, reason: str, stop: int) -> BatchRecord | None:
    """Return what is to run again of a batch after an ``end`` if nobody else does it; None if nothing is."""
    if reason in ("done", "refused"):
        return None
    start = int(stop) + (1 if reason == "died" else 0)
    if start >= held.jobs:
        return None
    again = BatchRecord(held.client, held.ident, held.digest, {**held.spec, "skip": start})
    again.heard, again.jobs = held.heard, held.jobs
    return again
