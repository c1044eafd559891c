"""Clients that are gone: the master acts for them, keeps what comes of their jobs, and gives it to who may have it.

away for DETACH_S ──> what it would have got goes to disk too
away too long, or fetched ──> detached: it cannot come back, and what is on disk is nowhere else
everything fetched, or too old ──> forgotten
"""

from __future__ import annotations

import asyncio
import functools
import hmac
from typing import TYPE_CHECKING, Any, Final

from octapi.errors import RunError
from octapi.master.gateway.client_state import ClientEvent
from octapi.master.gateway.outcome_spool import DETACH_S
from octapi.master.gateway.outcome_stream import serve
from octapi.protocol import replies
from octapi.store import runs

if TYPE_CHECKING:
    from octapi.master.gateway.batches import Batches
    from octapi.master.gateway.claims import Claims
    from octapi.master.gateway.clients import Clients
    from octapi.master.gateway.outcome_spool import OutcomeSpool
    from octapi.master.gateway.registry import RunRegistry
    from octapi.master.gateway.session import ClientSession
    from octapi.master.gateway.sessions import Sessions
    from octapi.master.gateway.submissions import Submissions
    from octapi.master.gateway.workers import Workers
    from octapi.protocol import client_messages as said

NO_SUCH_CLIENT: Final = "The master knows no crashed client with this recovery file."


class DetachedRuns:
    """Clients that are gone."""

    def __init__(
        self,
        registry: RunRegistry,
        clients: Clients,
        workers: Workers,
        sessions: Sessions,
        batches: Batches,
        claims: Claims,
        spool: OutcomeSpool,
        submissions: Submissions,
    ) -> None:
        self._registry = registry
        self._clients = clients
        self._workers = workers
        self._sessions = sessions
        self._batches = batches
        self._claims = claims
        self._spool = spool
        self._submissions = submissions

    def take_up(self) -> None:
        """Know the clients of the last master: they may come back, and what they left can be fetched."""
        for client in self._spool.left_behind():
            self._clients.add(client)
            self._sessions.wait_for(client)

    def forget_old(self) -> None:
        """Forget outcomes that waited too long, and runs that are too old."""
        old = self._registry.forget_old()
        for client in [client for client in self._clients if client.run in old]:
            self._sessions.end(client)

    # ---- fetching

    def fetch(self, client: ClientSession, message: said.Fetch) -> None:
        """Somebody wants what is kept of a run, by its name, or of a client, by its key."""
        try:
            found, run = self._wanted(client, message.wanted)
        except RunError as error:
            client.send(replies.Refused({"error": "RunError", "text": str(error)}))
            return
        for other in found:
            other.fetcher = client
            if not other.is_detached:
                self.detach(other)
        client.fetching = found
        client.send(replies.Recovered({"workers": self._workers.rows(), "run": run}))
        client.pouring = asyncio.ensure_future(serve(self._spool, client, found))

    def _wanted(self, client: ClientSession, question: dict[str, Any]) -> tuple[list[ClientSession], str]:
        """Return the clients that are meant, and their run.  Raises :exc:`RunError` for those that may not be had."""
        if question.get("token"):
            secret = runs.digest(str(question["token"]))
            found = [c for c in self._clients if c.is_run and hmac.compare_digest(c.secret, secret)]
            if not found:
                raise RunError(NO_SUCH_CLIENT)
        else:
            run = self._submissions.own(question.get("run"), client.peer)
            found = [c for c in self._clients if c.is_run and c.run == run.id]
            if not found:
                raise RunError(f"Nothing of run {run.id} waits here: it is {run.state}.")
        for other in found:
            if other.writer is not None:
                raise RunError(f"The script of run {other.run} is connected, and gets its results itself.")
            if other.fetcher is not None:
                raise RunError(f"Somebody fetches the results of run {other.run} just now.")
        return found, found[0].run

    def settled(self, client: ClientSession, _: said.Settled) -> None:
        """Somebody has fetched everything."""
        if client.pouring is not None:
            client.pouring.cancel()
        for other in client.fetching:
            self._registry.move(other.run, "fetched", kept=0)
            self._sessions.end(other)
        client.fetching = []

    # ---- acting for them

    def detach(self, client: ClientSession) -> None:
        """Act for a client that will not come back: run again what it would have sent again."""
        client.take(ClientEvent.DETACH)
        if client.expiry is not None:
            client.expiry.cancel()
        if client.is_found:
            self._claim_for(client)
            if not (client.claims or client.held or client.stored):
                return self._sessions.end(client)  # nothing of it is left
        if client.spool is None and client.is_run:
            self._spool.persist(client)
        if client.is_run:
            self._spool.note_detached(client)
        self._run_again(client)
        if not client.is_found:
            for batch in client.claims.values():
                self._batches.over(batch, client.deliver("", ("lost", batch.ident, batch.jobs)))
            client.claims.clear()
        return self._batches.place()

    def _claim_for(self, client: ClientSession) -> None:
        """Wait for the workers to bring the batches of a client that the last master knew."""
        self._claims.take_for(client, self._spool.open_batches(client))
        if client.claims or client.held:
            self._registry.client_event(client.run, "left")

    def _run_again(self, client: ClientSession) -> None:
        """Let the parts of batches wait that a client would have sent again."""
        for batch in client.leftover.values():
            if batch.spec["skip"] < batch.jobs:
                self._batches.hold(batch)
            else:  # its client had sent the rest again before it went
                ends = (number for number, _, key in client.ends if key == batch.key)
                self._batches.over(batch, next(ends, client.outbox.last))
        client.leftover.clear()

    def look(self, now: float) -> None:
        """Keep what clients that are gone have not got; what is safe on disk need be nowhere else.  Each second."""
        for client in self._clients:
            if client.writer is None and client.is_run:
                self._look_at(client, now)

    def _look_at(self, client: ClientSession, now: float) -> None:
        if client.spool is None and now - client.left_at > DETACH_S:
            self._spool.keep_absent(client)
        self._spool.catch_up(client)
        may = client.is_detached and not client.behind and not self._registry.trouble
        if may and len(client.outbox) and client.safe is None:
            client.safe = asyncio.wrap_future(self._registry.writer.flush())
            client.safe.add_done_callback(functools.partial(self._is_safe, client, client.outbox.last))

    def _is_safe(self, client: ClientSession, number: int, done: asyncio.Future[None]) -> None:
        """What was written of a client is on disk, unless ``done`` says that it is not."""
        client.safe = None
        if not done.cancelled() and done.exception() is None:
            self._sessions.seen(client, number)
