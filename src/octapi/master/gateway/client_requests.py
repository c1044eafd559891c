"""What clients say: each kind of message, and who answers it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from octapi.master.gateway import client_messages
from octapi.master.gateway.session import BatchRecord
from octapi.master.gateway.sessions import owner_of
from octapi.protocol import batch_checks, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from octapi.master.gateway.batches import Batches
    from octapi.master.gateway.claims import Claims
    from octapi.master.gateway.clients import Clients
    from octapi.master.gateway.detached import DetachedRuns
    from octapi.master.gateway.observers import Observers
    from octapi.master.gateway.outcome_spool import OutcomeSpool
    from octapi.master.gateway.queries import Queries
    from octapi.master.gateway.session import ClientSession
    from octapi.master.gateway.sessions import Sessions
    from octapi.master.gateway.workers import Workers

#: messages of clients that must arrive once; they are counted and acknowledged
COUNTED: Final = frozenset({"define", "run", "tell", "claim"})
#: what a client's summary says of its jobs
COUNTS: Final = ("waiting", "running", "done", "failed", "functions", "slots")


class ClientRequests:
    """Reads clients' messages, and calls who answers each: :attr:`handlers` holds every kind that there is."""

    def __init__(
        self,
        clients: Clients,
        workers: Workers,
        sessions: Sessions,
        batches: Batches,
        claims: Claims,
        detached: DetachedRuns,
        queries: Queries,
        spool: OutcomeSpool,
        observers: Observers,
    ) -> None:
        self._clients = clients
        self._workers = workers
        self._sessions = sessions
        self._batches = batches
        self._claims = claims
        self._spool = spool
        self._observers = observers
        self._registry = observers.registry
        self.handlers: Mapping[str, Callable[..., None]] = {
            "bye": self.bye,
            "seen": sessions.seen,
            "summary": self.summary,
            "define": self.define,
            "run": self.run,
            "tell": self.tell,
            "claim": self.claim,
            "watch": self.watch,
            "fetch": detached.fetch,
            "settled": detached.settled,
            "jobs": queries.jobs,
            "nodes": queries.nodes,
            "runs": queries.runs,
            "metrics": queries.metrics,
            "courses": queries.courses,
            "manage": queries.manage,
            "stop_job": queries.stop_job,
            "stop": queries.stop,
            "drain": queries.drain,
        }

    def take(self, client: ClientSession, body: bytes) -> None:
        """Take one message of a client.  Raises :exc:`MessageRefused` for one that is none."""
        kind, rest = client_messages.said(wire.unpack(body))
        client.heard_at = asyncio.get_running_loop().time()
        if kind in COUNTED and client.keeps and client.counter.took(len(body)):
            client.acknowledge()
        self.handlers[kind](client, *rest)

    # ---- of the client itself

    def bye(self, client: ClientSession) -> None:
        """The client ends as it should."""
        client.said_bye = True
        if client.is_run:
            self._registry.client_event(client.run, "bye")

    def summary(self, client: ClientSession, summary: dict[str, Any]) -> None:
        """The client tells how far its jobs are."""
        if not client.summary.get("functions") and summary.get("functions"):
            self._observers.run_began(client)
        client.summary = in_summary(summary)
        self._observers.run_told(client, summary.get("story"))
        if client.is_run:
            self._registry.count(client.run, client.summary, self._workers.slots(), client.number)

    def watch(self, client: ClientSession, wanted: bool) -> None:
        """Somebody wants to see what happens, or does not any more."""
        if wanted:
            self._observers.subscriptions.add(client)
        else:
            self._observers.subscriptions.remove(client)

    # ---- of its computations and batches

    def define(self, client: ClientSession, digest: str, spec: bytes, facts: dict[str, Any]) -> None:
        """Keep a computation; workers that may run it get it now, so that setup can begin."""
        if self._clients.others_with(digest, client):
            raise ValueError(f"the computation {digest!r} is another script's")
        if why := batch_checks.of_definition(digest, spec, facts):
            raise ValueError(f"a computation cannot be used: {why}")
        if not client.is_run:
            client.is_run = True
            self._registry.begin(client.run, client.facts, owner_of(client.peer), self._workers.slots())
            self._spool.begin(client)
        client.computations[digest] = (spec, facts)
        has_limits = facts.get("limits") is not None
        self._batches.share(client, digest, [w for w in self._workers if digest in w.known or has_limits])
        self._batches.place()

    def run(self, client: ClientSession, ident: int, _queue: int, digest: str, facts: dict[str, Any]) -> None:
        """Take a batch."""
        if not batch_checks.is_count(ident) or digest not in client.computations:
            raise ValueError(f"a batch without its number or its computation: {digest!r}")
        why = batch_checks.of_batch(facts)
        if why or ident in client.held:
            info = {"text": why or f"its number {ident} is taken", "is_batch": True}
            client.deliver("", ("end", ident, "refused", 0, info))
            return
        self._observers.batch_came(facts)
        self._batches.hold(BatchRecord(client, ident, digest, facts))
        self._batches.place()

    def claim(self, client: ClientSession, epochs: dict[str, str], rows: list[list[Any]]) -> None:
        """Take what another process of the master held."""
        are_texts = isinstance(epochs, dict) and batch_checks.is_texts([*epochs, *epochs.values()])
        if not are_texts or not all(is_claim(row) for row in rows):
            raise ValueError("what it claims makes no sense")
        self._claims.take(client, epochs, rows)

    def tell(self, client: ClientSession, name: str | None, message: list[Any]) -> None:
        """Pass a message about the client's own batch or computation on to one worker or to all."""
        if why := batch_checks.of_message(message):
            raise ValueError(why)
        kind, subject = message[0], message[1]
        if kind in batch_checks.ABOUT_BATCHES:
            return self._tell_of_batch(client, kind, subject, message[2:])
        if subject not in client.computations:
            if self._clients.others_with(subject, client):
                raise ValueError(f"the computation {subject!r} is another script's")
            return None  # it was forgotten meanwhile
        for worker in self._workers:
            if name in (None, worker.name):
                if kind == "forget":
                    worker.forget(subject)
                self._workers.send(worker, tuple(message))
        if kind == "forget" and name is None:
            client.computations.pop(subject, None)
        return None

    def _tell_of_batch(self, client: ClientSession, kind: str, ident: int, rest: list[Any]) -> None:
        batch = client.held.get(ident) or client.claims.get(ident)
        if batch is None:
            return
        if ident in client.claims:
            batch.told.append((kind, batch.key, *rest))
        elif batch.worker is None:
            client.waiting.remove(batch)
            del client.held[ident]
            client.deliver("", ("end", ident, "returned", batch.facts.get("skip", 0), {}))
        else:
            self._workers.send(self._workers.by_name[batch.worker], (kind, batch.key, *rest))


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
