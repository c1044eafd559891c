"""The gateway's side towards clients: their sessions, which outlive connections, and what they may ask.

A client that comes back gets what it missed.  One that comes back to another process of the master, which knows nothing
of it, *claims* the batches that were on their way; the workers, which outlive the master too, bring them.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import logging
from typing import TYPE_CHECKING, Any

from octapi import _version
from octapi.master.gateway import client_messages
from octapi.master.gateway.collector import MasterCollector
from octapi.master.gateway.detached import CLAIM_S, MASTER_ENDED, DetachedRuns
from octapi.master.gateway.session import BatchRecord, ClientSession
from octapi.protocol import batch_checks, wire
from octapi.store import runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from distributed.scheduler import Scheduler

    from octapi.master.gateway.placement import WorkerRecord
    from octapi.master.gateway.registry import RunRegistry
    from octapi.trust.names import Peer

log = logging.getLogger("octapi.master.gateway")

TAKEN = "This session is another client's, or somebody else has fetched its jobs."
AWAY = (
    "This script was away longer than {} (reconnect_s). Its jobs went on without it, and its results are kept: "
    "octapi jobs recover {}"
)
#: messages of clients that must arrive once; they are counted and acknowledged
COUNTED = frozenset({"define", "run", "tell", "claim"})
#: what a client's summary says of its jobs
COUNTS = ("waiting", "running", "done", "failed", "functions", "slots")
#: of how many batches that have not begun a client is told at once
TOLD = 20
#: how often clients get a sign of life, and how long one may give none, in seconds
PULSE_S = 5.0
SILENT_S = 20.0


def described(client: ClientSession) -> str:
    """Name a run for the log; what its script says of itself is no one's to believe, so it is quoted."""
    script, user, host = (str(client.facts.get(key) or "?")[:80] for key in ("script", "user", "host"))
    return f"run {client.run} ({script!r} of {user!r} on {host!r})"


class Sessions(DetachedRuns):
    """Clients and their sessions; the other half is :class:`octapi.master.gateway.gateway.Gateway`."""

    scheduler: Scheduler
    agents: dict[str, WorkerRecord]

    def __init__(self, book: RunRegistry) -> None:
        super().__init__(book)
        self.sessions: dict[str, ClientSession] = {}
        self.meter = MasterCollector()

    # ---- what the other half does

    def to_agent(self, agent: WorkerRecord, message: tuple[Any, ...]) -> None:
        """Send one message to a worker."""
        raise NotImplementedError

    def share(self, client: ClientSession, digest: str, agents: Iterable[WorkerRecord]) -> None:
        """Give a computation to workers."""
        raise NotImplementedError

    def slots(self) -> int:
        """Return how many slots there are now."""
        raise NotImplementedError

    # ---- coming and going

    def greet(self, writer: asyncio.StreamWriter, facts: dict[str, Any], peer: Peer | None) -> ClientSession | None:
        """Welcome a client; None for one that may not have the session it asks for."""
        client = self._known(facts)
        is_known = client is not None
        if client is None:
            client = ClientSession(writer, facts, peer)
            client.since = self.now()
            client.run = self.book.new_id(facts.get("run"), lambda run: self.submissions.may(run, peer))
            self.clients[client.number] = client
            if client.token:  # one that only asks has no session to come back to
                self.sessions[client.session] = client
        elif why := self._why_not(client, facts, peer):
            writer.write(wire.pack(("refused", {"error": "ClusterError", "text": why})))
            return None
        else:
            client.attach(writer)
            if client.spool is not None:
                self.spool.back(client)
            if client.is_run:
                self.book.client_event(client.run, "back")
        self._welcome(client, is_known, batch_checks.count(facts.get("seen")))
        log.debug(f"{described(client)} is connected{' again' if is_known else ''}.")
        return client

    def _why_not(self, client: ClientSession, facts: dict[str, Any], peer: Peer | None) -> str:
        """Return why somebody may not have a session that is known; an empty text if it may."""
        if client.is_found:  # its key is known by its digest, and not who had it
            is_its = hmac.compare_digest(client.secret, runs.digest(str(facts.get("token"))))
        else:
            is_its = is_same(client, facts, peer)
        if not is_its:
            return TAKEN
        if client.is_found:
            return AWAY.format("it may be", client.run)
        if client.is_detached:
            away_s = asyncio.get_running_loop().time() - client.left_at
            is_late = away_s >= client.absence_s
            return AWAY.format(f"{client.absence_s:.0f} s", client.run) if is_late else TAKEN
        return ""

    def _known(self, facts: dict[str, Any]) -> ClientSession | None:
        """Return the session that a client comes back to, if this process of the master knows it."""
        client = self.sessions.get(str(facts.get("session")))
        if client is None or not client.is_found or client.is_detached or client.was_detached:
            return client
        if hmac.compare_digest(client.secret, runs.digest(str(facts.get("token")))):
            self._release(client)  # only the last master knew it, so it tells everything anew
            self.spool.forget(client)
            return None
        return client

    def _release(self, client: ClientSession) -> None:
        """Know a client no more."""
        if client.expiry is not None:
            client.expiry.cancel()
        self.clients.pop(client.number, None)
        self.sessions.pop(client.session, None)

    def _welcome(self, client: ClientSession, is_known: bool, seen: int) -> None:
        welcome = {"dask_port": self.scheduler.port, "workers": self.rows(), "release": _version.__version__}
        welcome |= {"time": self.now(), "run": client.run, "session": is_known, "seen": client.counter.tell()}
        client.send("welcome", welcome)
        client.send("pace", self.watching.pace_s)
        if is_known:
            self.client_seen(client, seen)
            client.catch_up(seen)

    # ---- leaving

    def client_left(self, client: ClientSession, writer: asyncio.StreamWriter) -> None:
        """Its connection is gone: go on without it for a time, or stop its jobs."""
        if client.writer is not writer:
            return None  # it is back over another one
        client.writer = None
        log.debug(f"{described(client)} is not connected any more.")
        self.watching.remove(client)
        client.left_at = asyncio.get_running_loop().time()
        if client.pouring is not None:
            client.pouring.cancel()
        if client.is_run:
            self.book.client_event(client.run, "left")
        if not client.keeps or client.said_bye:
            return self.end(client)
        return self.wait_for(client)

    def wait_for(self, client: ClientSession) -> None:
        """Give a client time to come back."""
        client.expiry = asyncio.get_running_loop().call_later(client.absence_s, self._expire, client)

    def _expire(self, client: ClientSession) -> None:
        """It was away too long: it is an orphan now, until its outcomes are fetched or too old."""
        client.expiry = None
        if not client.is_run or not client.is_recoverable:
            return self.end(client)
        return self.orphan(client)

    def end(self, client: ClientSession) -> None:
        """Forget a client and stop its jobs."""
        if client.number in self.clients:
            self.watching.ended(client)
            if client.summary.get("functions"):
                jobs, failed = (client.summary.get(key) or 0 for key in ("done", "failed"))
                text = f"{described(client)} ended: {jobs} jobs ended, {failed} of them failed."
                log.log(logging.WARNING if failed else logging.INFO, text)
            self.trace_writer.close(client.run)
        self._release(client)
        if client.is_run:
            self.spool.forget(client)
        client.news.set()
        client.waiting.clear()
        for agent in list(self.agents.values()):
            self.to_agent(agent, ("kill", client.session))
            for key in [key for key, held in agent.held.items() if held.client is client]:
                del agent.held[key]
            for digest in client.computations:
                if digest in agent.known:
                    agent.forget(digest)
                    self.to_agent(agent, ("forget", digest))
        self.place()

    def look_at_clients(self, now: float) -> None:
        """Give signs of life, hang up on those that give none, and end claims that nobody answers; each second."""
        for client in list(self.clients.values()):
            if client.writer is not None and client.keeps:
                if client.counter.is_due or now - client.pulsed_at > PULSE_S:
                    client.pulsed_at = now
                    client.acknowledge()
                if now - client.heard_at > SILENT_S and not client.is_detached:
                    client.writer.transport.abort()
            if client.claims:
                self.settle_claims(client, now)
            if client.held:
                self._tell_others(client)
            if client.writer is None and client.is_run:
                self.look_at_absent(client, now)

    def _tell_others(self, client: ClientSession) -> None:
        """Tell a client what its batches wait for, when that has changed: others' jobs, or workers that have them."""
        others = sum(1 for other in self.clients.values() if other is not client and other.held)
        waiting = ((held.ident, held.worker) for held in client.held.values() if not held.is_begun)
        placed = {ident: worker for ident, worker in itertools.islice(waiting, TOLD) if worker is not None}
        if (others, placed) != client.others:
            client.others = others, placed
            client.send("others", others, placed)

    # ---- what clients say

    def take(self, client: ClientSession, body: bytes) -> None:
        """Take one message of a client.  Raises :exc:`MessageRefused` for one that is none."""
        kind, rest = client_messages.said(wire.unpack(body))
        client.heard_at = asyncio.get_running_loop().time()
        if kind in COUNTED and client.keeps and client.counter.took(len(body)):
            client.acknowledge()
        getattr(self, f"client_{kind}")(client, *rest)

    def client_bye(self, client: ClientSession) -> None:
        """The client ends as it should."""
        client.said_bye = True
        if client.is_run:
            self.book.client_event(client.run, "bye")

    def client_seen(self, client: ClientSession, number: int) -> None:
        """The client has all frames up to ``number``: workers need not keep them."""
        was_full = client.is_full
        for name, keys in client.seen(number).items():
            if name in self.agents:
                self.to_agent(self.agents[name], ("settled", keys))
        if was_full and not client.is_full:
            self.place()

    def client_summary(self, client: ClientSession, summary: dict[str, Any]) -> None:
        """The client tells how far its jobs are."""
        if not client.summary.get("functions") and summary.get("functions"):
            self.watching.event("began", client.run, str(client.facts.get("script") or ""))
            log.info(f"{described(client)} began.")
        client.summary = in_summary(summary)
        self.take_story(client, summary.get("story"))
        if client.is_run:
            self.book.count(client.run, client.summary, self.slots(), client.number)

    def client_define(self, client: ClientSession, digest: str, spec: bytes, facts: dict[str, Any]) -> None:
        """Keep a computation; workers that may run it get it now, so that setup can begin."""
        if self._is_others(client, digest):
            raise ValueError(f"the computation {digest!r} is another script's")
        if why := batch_checks.of_definition(digest, spec, facts):
            raise ValueError(f"a computation cannot be used: {why}")
        if not client.is_run:
            client.is_run = True
            self.book.begin(client.run, client.facts, owner_of(client.peer), self.slots())
            self.spool.begin(client)
        client.computations[digest] = (spec, facts)
        has_limits = facts.get("limits") is not None
        self.share(client, digest, [agent for agent in self.agents.values() if digest in agent.known or has_limits])
        self.place()

    def _is_others(self, client: ClientSession, digest: str) -> bool:
        return any(digest in other.computations for other in self.clients.values() if other is not client)

    def client_run(self, client: ClientSession, ident: int, run: int, digest: str, facts: dict[str, Any]) -> None:
        """Take a batch."""
        if not batch_checks.is_count(ident) or digest not in client.computations:
            raise ValueError(f"a batch without its number or its computation: {digest!r}")
        why = batch_checks.of_batch(facts)
        if why or ident in client.held:
            info = {"text": why or f"its number {ident} is taken", "is_batch": True}
            client.deliver("", ("end", ident, "refused", 0, info))
            return
        self.meter.batch(facts)
        self.hold(BatchRecord(client, ident, digest, facts))
        self.place()

    def hold(self, held: BatchRecord) -> None:
        """Let a batch wait for a worker."""
        if held.digest not in held.client.computations or "data" not in held.facts:  # only the last master had it
            held.client.held.pop(held.ident, None)
            return self.over(held, held.client.deliver("", ("lost", held.ident, held.jobs, MASTER_ENDED)))
        held.worker = None
        held.client.held[held.ident] = held
        held.client.waiting.append(held)
        return None

    def over(self, held: BatchRecord, number: int) -> None:
        """A batch is over; its last message has this number."""
        client = held.client
        client.names[held.ident] = (held.jobs, client.function_of(held.digest))
        if client.spool is not None:
            self.spool.ended(client, number, held)
        client.news.set()

    def client_tell(self, client: ClientSession, worker: str | None, message: list[Any]) -> None:
        """Pass a message about the client's own batch or computation on to one agent or to all."""
        if why := batch_checks.of_message(message):
            raise ValueError(why)
        kind, subject = message[0], message[1]
        if kind in batch_checks.ABOUT_BATCHES:
            return self._tell_batch(client, kind, subject, message[2:])
        if subject not in client.computations:
            if self._is_others(client, subject):
                raise ValueError(f"the computation {subject!r} is another script's")
            return None  # it was forgotten meanwhile
        for agent in list(self.agents.values()):
            if worker in (None, agent.name):
                if kind == "forget":
                    agent.forget(subject)
                self.to_agent(agent, tuple(message))
        if kind == "forget" and worker is None:
            client.computations.pop(subject, None)
        return None

    def _tell_batch(self, client: ClientSession, kind: str, ident: int, rest: list[Any]) -> None:
        held = client.held.get(ident) or client.claims.get(ident)
        if held is None:
            return
        if ident in client.claims:
            held.told.append((kind, held.key, *rest))
        elif held.worker is None:
            client.waiting.remove(held)
            del client.held[ident]
            client.deliver("", ("end", ident, "returned", held.facts.get("skip", 0), {}))
        else:
            self.to_agent(self.agents[held.worker], (kind, held.key, *rest))

    # ---- claims

    def client_claim(self, client: ClientSession, worker_epochs: dict[str, str], rows: list[list[Any]]) -> None:
        """Take what another process of the master held: ``crew`` are the workers' lives by name, as the client knows.

        A row is a batch's number, its computation, its facts, how many messages of it came, and its worker if known.
        """
        lives = isinstance(worker_epochs, dict) and batch_checks.is_texts([*worker_epochs, *worker_epochs.values()])
        if not lives or not all(is_claim(row) for row in rows):
            raise ValueError("what it claims makes no sense")
        for ident, digest, facts, heard, worker in rows:
            held = BatchRecord(client, ident, digest, facts)
            held.heard, held.worker = heard, worker
            client.claims[ident] = held
        client.worker_epochs = worker_epochs
        client.claim_until = asyncio.get_running_loop().time() + CLAIM_S
        client.is_claiming = False
        for agent in list(self.agents.values()):
            self.sort_strays(agent)
        self.settle_claims(client, asyncio.get_running_loop().time())

    def sort_strays(self, agent: WorkerRecord) -> None:
        """Find the clients of the batches that a worker brought; what nobody waits for is dropped."""
        dropped = []
        for session, ident in sorted(agent.unclaimed):
            client = self.sessions.get(session)
            if client is None or client.is_claiming:
                continue  # it may come
            agent.unclaimed.discard((session, ident))
            held = client.claims.pop(ident, None)
            if held is None:
                dropped.append((session, ident))
            else:
                self.adopt(agent, held)
        if dropped:
            self.to_agent(agent, ("drop", dropped))

    def adopt(self, agent: WorkerRecord, held: BatchRecord) -> None:
        """Take a batch over that a worker has; it says again what its client has not heard."""
        held.worker = agent.name
        held.client.held[held.ident] = held
        agent.held[held.key] = held
        held.is_muted = True
        self.to_agent(agent, ("replay", held.key, held.heard))
        for message in held.told:
            self.to_agent(agent, message)
        held.told.clear()

    def settle_claims(self, client: ClientSession, now: float) -> None:
        """End the claims of batches that no worker can bring any more."""
        lives = {agent.name: agent.info["life"] for agent in self.agents.values()}
        all_back = not client.is_found and all(lives.get(name) == life for name, life in client.worker_epochs.items())
        for ident, held in list(client.claims.items()):
            is_back = held.worker in lives if held.worker is not None else all_back
            if not is_back and now < client.claim_until:
                continue
            del client.claims[ident]
            if client.is_found:
                self.over(held, client.deliver("", ("lost", ident, held.jobs, MASTER_ENDED)))
            elif all_back and held.worker is None:  # it never reached a worker
                client.deliver("", ("end", ident, "returned", held.facts.get("skip", 0), {}))
            else:
                client.deliver(held.worker or "", ("lost", ident, held.jobs))


def is_same(client: ClientSession, facts: dict[str, Any], peer: Peer | None) -> bool:
    """Say whether who comes may have a session: by its key, and by the identity that it began with."""
    told = str(facts.get("token") or "")
    return bool(told) and hmac.compare_digest(client.token, told) and owner_of(client.peer) == owner_of(peer)


def is_claim(row: Any) -> bool:
    """Say whether a row describes a batch that another process of the master held."""
    if not isinstance(row, list) or len(row) != 5:
        return False
    ident, digest, facts, heard, worker = row
    is_known = (
        batch_checks.is_count(ident) and isinstance(digest, str) and not batch_checks.of_batch(facts, is_whole=False)
    )
    return is_known and batch_checks.is_count(heard) and (worker is None or isinstance(worker, str))


def in_summary(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what a client says of its jobs; numbers that are none count as 0."""
    functions = summary.get("functions")
    found: dict[str, Any] = {key: batch_checks.count(summary.get(key)) for key in COUNTS}
    return found | {
        "functions": [*functions] if isinstance(functions, list) and batch_checks.is_texts(functions) else []
    }


def owner_of(peer: Peer | None) -> str:
    """Return the ident of whoever is at the other end; an empty text without encryption."""
    return "" if peer is None else peer.ident
