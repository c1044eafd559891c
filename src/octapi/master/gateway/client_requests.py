"""What clients say: each kind of message, and who answers it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from octapi.errors import MessageRefused
from octapi.master.gateway.client_state import ClientEvent
from octapi.master.gateway.session import BatchRecord
from octapi.master.gateway.sessions import owner_of
from octapi.protocol import client_messages as said
from octapi.protocol import wire
from octapi.protocol.messages import Channel, kind_of, parse

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

#: what a client's summary says of its jobs
COUNTS: Final = ("waiting", "running", "done", "failed", "slots")


class ClientRequests:
    """Reads clients' messages, and calls who answers each."""

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
        self._handlers: Mapping[type[Any], Callable[[ClientSession, Any], None]] = {
            said.Bye: self._bye,
            said.Seen: lambda client, message: sessions.seen(client, message.number),
            said.Summary: self._summary,
            said.Define: self._define,
            said.Run: self._run,
            said.Tell: self._tell,
            said.Claim: self._claim,
            said.Watch: self._watch,
            said.Fetch: detached.fetch,
            said.Settled: detached.settled,
            said.Jobs: queries.jobs,
            said.Nodes: queries.nodes,
            said.Runs: queries.runs,
            said.Metrics: queries.metrics,
            said.Courses: queries.courses,
            said.Manage: queries.manage,
            said.StopJob: queries.stop_job,
            said.Stop: queries.stop,
            said.Drain: queries.drain,
        }

    def take(self, client: ClientSession, body: wire.Buffer) -> None:
        """Take one message of a client.  Raises :exc:`MessageRefused` for one that is none."""
        message = said.said(wire.unpack(body))
        client.heard_at = asyncio.get_running_loop().time()
        if kind_of(message).must_arrive and client.keeps and client.counter.took(len(body)):
            client.acknowledge()
        self._handlers[type(message)](client, message)

    # ---- of the client itself

    def _bye(self, client: ClientSession, _: said.Bye) -> None:
        client.take(ClientEvent.BYE)
        if client.is_run:
            self._registry.client_event(client.run, "bye")

    def _summary(self, client: ClientSession, message: said.Summary) -> None:
        facts = message.facts
        if not client.summary.get("functions") and facts.get("functions"):
            self._observers.run_began(client)
        client.summary = in_summary(facts)
        self._observers.run_told(client, facts.get("story"))
        if client.is_run:
            self._registry.count(client.run, client.summary, self._workers.slots(), client.number)

    def _watch(self, client: ClientSession, message: said.Watch) -> None:
        if message.wanted:
            self._observers.subscriptions.add(client)
        else:
            self._observers.subscriptions.remove(client)

    # ---- of its computations and batches

    def _define(self, client: ClientSession, message: said.Define) -> None:
        """Keep a computation; workers that may run it get it now, so that setup can begin."""
        digest, spec, facts = message
        if self._clients.others_with(digest, client):
            raise ValueError(f"the computation {digest!r} is another script's")
        if not client.is_run:
            client.is_run = True
            self._registry.begin(client.run, client.facts, owner_of(client.peer), self._workers.slots())
            self._spool.begin(client)
        client.computations[digest] = (spec, facts)
        has_limits = facts.get("limits") is not None
        self._batches.share(client, digest, [w for w in self._workers if digest in w.known or has_limits])
        self._batches.place()

    def _run(self, client: ClientSession, message: said.Run) -> None:
        ident, _, digest, spec = message
        if digest not in client.computations:
            raise ValueError(f"a batch without its computation: {digest!r}")
        if ident in client.held:
            spec = MessageRefused(f"its number {ident} is taken")
        if isinstance(spec, MessageRefused):
            client.deliver("", ("end", ident, "refused", 0, {"text": str(spec), "is_batch": True}))
            return
        self._observers.batch_came(spec)
        self._batches.hold(BatchRecord(client, ident, digest, spec))
        self._batches.place()

    def _claim(self, client: ClientSession, message: said.Claim) -> None:
        self._claims.take(client, message.epochs, message.rows)

    def _tell(self, client: ClientSession, message: said.Tell) -> None:
        """Pass something about the client's own batch or computation on to one worker or to all."""
        name, told = message
        kind, subject = told[0], told[1]
        if kind in said.OF_BATCHES:
            return self._tell_of_batch(client, kind, subject, told[2:])
        if subject not in client.computations:
            if self._clients.others_with(subject, client):
                raise ValueError(f"the computation {subject!r} is another script's")
            return None  # it was forgotten meanwhile
        for worker in self._workers:
            if name in (None, worker.name):
                if kind == "forget":
                    worker.forget(subject)
                self._workers.send(worker, parse(Channel.TO_WORKER, told))
        if kind == "forget" and name is None:
            client.computations.pop(subject, None)
        return None

    def _tell_of_batch(self, client: ClientSession, kind: str, ident: int, rest: list[Any]) -> None:
        batch = client.held.get(ident) or client.claims.get(ident)
        if batch is None:
            return
        order = parse(Channel.TO_WORKER, (kind, batch.key, *rest))
        if ident in client.claims:
            batch.told.append(order)
        elif batch.worker is None:
            client.waiting.remove(batch)
            del client.held[ident]
            client.deliver("", ("end", ident, "returned", batch.spec.get("skip", 0), {}))
        else:
            self._workers.send(self._workers.by_name[batch.worker], order)


def in_summary(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what a client says of its jobs; numbers that it leaves out are 0."""
    return {key: summary.get(key, 0) for key in COUNTS} | {"functions": summary.get("functions", [])}
