"""Clients that are gone: the master acts for them, keeps what comes of their jobs, and gives it to who may have it.

    away for DETACH_S ──> what it would have got goes to disk too
    away too long, or fetched ──> orphan: it cannot come back, and what is on disk is nowhere else
    everything fetched, or too old ──> forgotten

The other half is :class:`octapi.master.gateway.sessions.Sessions`.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
from typing import TYPE_CHECKING, Any

from octapi.errors import RunError
from octapi.master.gateway.outcome_spool import DETACH_S, OutcomeSpool
from octapi.master.gateway.outcome_stream import serve
from octapi.master.gateway.queries import Queries
from octapi.master.gateway.session import BatchRecord, ClientSession
from octapi.store import runs

if TYPE_CHECKING:
    from octapi.master.gateway.placement import WorkerRecord
    from octapi.master.gateway.registry import RunRegistry

NO_SUCH_CLIENT = "The master knows no crashed client with this recovery file."
MASTER_ENDED = (
    "The master ended while a worker had the job, its script was gone too, and no worker has brought the result since."
)
#: how long a claimed batch may wait for the worker that has it, in seconds
CLAIM_S = 30.0


class DetachedRuns(Queries):
    """Clients that are gone."""

    agents: dict[str, WorkerRecord]
    sessions: dict[str, ClientSession]

    def __init__(self, book: RunRegistry) -> None:
        super().__init__(book)
        self.spool = OutcomeSpool(book)

    # ---- what the rest of the gateway does

    def place(self) -> None:
        """Give waiting batches to workers."""
        raise NotImplementedError

    def hold(self, held: BatchRecord) -> None:
        """Let a batch wait for a worker."""
        raise NotImplementedError

    def over(self, held: BatchRecord, number: int) -> None:
        """A batch is over; its last message has this number."""
        raise NotImplementedError

    def sort_strays(self, agent: WorkerRecord) -> None:
        """Find the clients of the batches that a worker brought."""
        raise NotImplementedError

    def client_seen(self, client: ClientSession, number: int) -> None:
        """The client has all frames up to ``number``."""
        raise NotImplementedError

    def wait_for(self, client: ClientSession) -> None:
        """Give a client time to come back."""
        raise NotImplementedError

    # ---- fetching what is kept of clients that are gone

    def take_up(self) -> None:
        """Know the clients of the last master: they may come back, and what they left can be fetched."""
        for client in self.spool.left_behind():
            self.clients[client.number] = self.sessions[client.session] = client
            self.wait_for(client)

    def forget_old(self) -> None:
        """Forget outcomes that waited too long, and runs that are too old."""
        old = self.book.forget_old()
        for client in [client for client in self.clients.values() if client.run in old]:
            self.end(client)

    def client_fetch(self, client: ClientSession, question: dict[str, Any]) -> None:
        """Somebody wants what is kept of a run, by its name, or of a client, by its key."""
        try:
            found, run = self._wanted(client, question)
        except RunError as error:
            client.send("refused", {"error": "RunError", "text": str(error)})
            return
        for other in found:
            other.fetcher = client
            if not other.is_detached:
                self.orphan(other)
        client.fetching = found
        client.send("recovered", {"workers": self.rows(), "run": run})
        client.pouring = asyncio.ensure_future(serve(self.spool, client, found))

    def _wanted(self, client: ClientSession, question: dict[str, Any]) -> tuple[list[ClientSession], str]:
        """Return the clients that are meant, and their run.  Raises :exc:`RunError` for those that may not be had."""
        if question.get("token"):
            secret = runs.digest(str(question["token"]))
            found = [c for c in self.clients.values() if c.is_run and hmac.compare_digest(c.secret, secret)]
            if not found:
                raise RunError(NO_SUCH_CLIENT)
        else:
            run = self.submissions.own(question.get("run"), client.peer)
            found = [c for c in self.clients.values() if c.is_run and c.run == run.id]
            if not found:
                raise RunError(f"Nothing of run {run.id} waits here: it is {run.state}.")
        for other in found:
            if other.writer is not None:
                raise RunError(f"The script of run {other.run} is connected, and gets its results itself.")
            if other.fetcher is not None:
                raise RunError(f"Somebody fetches the results of run {other.run} just now.")
        return found, found[0].run

    def client_settled(self, client: ClientSession) -> None:
        """Somebody has fetched everything."""
        if client.pouring is not None:
            client.pouring.cancel()
        for other in client.fetching:
            self.book.move(other.run, "fetched", kept=0)
            self.end(other)
        client.fetching = []

    def orphan(self, client: ClientSession) -> None:
        """Act for a client that will not come back: run again what it would have sent again."""
        client.is_detached = True
        if client.expiry is not None:
            client.expiry.cancel()
        if client.is_found:
            self._claim_for(client)
            if not (client.claims or client.held or client.stored):
                return self.end(client)  # nothing of it is left
        if client.spool is None and client.is_run:
            self.spool.persist(client)
        if client.is_run:
            self.spool.note_orphan(client)
        for held in client.leftover.values():
            if held.facts["skip"] < held.jobs:
                self.hold(held)
            else:  # its client had sent the rest again before it went
                ends = (number for number, _, key in client.ends if key == held.key)
                self.over(held, next(ends, client.outbox.last))
        client.leftover.clear()
        if not client.is_found:
            for held in client.claims.values():
                self.over(held, client.deliver("", ("lost", held.ident, held.jobs)))
            client.claims.clear()
        return self.place()

    def _claim_for(self, client: ClientSession) -> None:
        """Wait for the workers to bring the batches of a client that the last master knew."""
        found = self.spool.open_batches(client)
        client.names |= {ident: (jobs, function) for ident, jobs, function in found}
        for ident, jobs, _ in found:
            client.claims[ident] = BatchRecord(client, ident, "", {"jobs": jobs, "gone": True})
        unclaimed = [
            ident for agent in self.agents.values() for session, ident in agent.unclaimed if session == client.session
        ]
        for ident in unclaimed:
            client.claims.setdefault(ident, BatchRecord(client, ident, "", {"jobs": 0, "gone": True}))
        client.is_claiming = False
        client.claim_until = asyncio.get_running_loop().time() + CLAIM_S
        if client.claims:
            self.book.client_event(client.run, "left")
        for agent in list(self.agents.values()):
            self.sort_strays(agent)

    def keep_absent(self, client: ClientSession) -> None:
        """Write down what a client that is away has not got."""
        if client.writer is None and client.is_run and client.spool is None and not client.is_found:
            self.spool.persist(client)

    def look_at_absent(self, client: ClientSession, now: float) -> None:
        """Keep what a client that is gone has not got; what is safe on disk need be nowhere else."""
        if client.spool is None and now - client.left_at > DETACH_S:
            self.keep_absent(client)
        self.spool.catch_up(client)
        may = client.is_detached and not client.behind and not self.book.trouble
        if may and len(client.outbox) and client.safe is None:
            client.safe = asyncio.wrap_future(self.book.writer.flush())
            client.safe.add_done_callback(functools.partial(self._is_safe, client, client.outbox.last))

    def _is_safe(self, client: ClientSession, number: int, done: asyncio.Future[None]) -> None:
        """What was written of a client is on disk, unless ``done`` says that it is not."""
        client.safe = None
        if not done.cancelled() and done.exception() is None:
            self.client_seen(client, number)
