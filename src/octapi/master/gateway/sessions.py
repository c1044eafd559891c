"""Clients' sessions, which outlive their connections: one that comes back gets what it missed."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import logging
from typing import TYPE_CHECKING, Any, Final

from octapi import _version
from octapi.master.gateway.client_state import ClientEvent, ClientState
from octapi.master.gateway.observers import described
from octapi.master.gateway.session import ClientSession
from octapi.protocol import orders, replies, wire
from octapi.protocol.messages import plain
from octapi.store import runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.master.gateway.batches import Batches
    from octapi.master.gateway.claims import Claims
    from octapi.master.gateway.clients import Clients
    from octapi.master.gateway.observers import Observers
    from octapi.master.gateway.outcome_spool import OutcomeSpool
    from octapi.master.gateway.workers import Workers
    from octapi.protocol.stream import FrameStream
    from octapi.store.runs import Run
    from octapi.trust.names import Peer

log = logging.getLogger("octapi.master.gateway")

TAKEN: Final = "This session is another client's, or somebody else has fetched its jobs."
AWAY: Final = (
    "This script was away longer than {} (reconnect_s). Its jobs went on without it, and its results are kept: "
    "octapi jobs recover {}"
)
#: of how many batches that have not begun a client is told at once
TOLD: Final = 20
#: how often clients get a sign of life, and how long one may give none, in seconds
PULSE_S: Final = 5.0
SILENT_S: Final = 20.0


class Sessions:
    """Clients that are connected, or may come back.

    ``dask_port`` is told to each; ``may(run, peer)`` says whether a client may go on with a run that is known;
    ``on_expired`` gets those that were away too long, and that somebody may want the outcomes of.
    """

    def __init__(
        self,
        clients: Clients,
        workers: Workers,
        batches: Batches,
        claims: Claims,
        spool: OutcomeSpool,
        observers: Observers,
        *,
        dask_port: Callable[[], int],
        may: Callable[[Run, Peer | None], bool],
        on_expired: Callable[[ClientSession], None],
    ) -> None:
        self._clients = clients
        self._workers = workers
        self._batches = batches
        self._claims = claims
        self._spool = spool
        self._observers = observers
        self._registry = observers.registry
        self._dask_port = dask_port
        self._may = may
        self._on_expired = on_expired

    # ---- coming

    def greet(self, writer: FrameStream, facts: dict[str, Any], peer: Peer | None) -> ClientSession | None:
        """Welcome a client; None for one that may not have the session it asks for."""
        client = self._known(facts)
        is_known = client is not None
        if client is None:
            client = ClientSession(writer, facts, peer)
            client.since = self._registry.now()
            client.run = self._registry.new_id(facts.get("run"), lambda run: self._may(run, peer))
            self._clients.add(client)
        elif why := why_not(client, facts, peer, asyncio.get_running_loop().time()):
            writer.write(wire.pack(plain(replies.Refused({"error": "ClusterError", "text": why}))))
            return None
        else:
            self._come_back(client, writer)
        self._welcome(client, is_known, facts.get("seen", 0))
        log.debug(f"{described(client)} is connected{' again' if is_known else ''}.")
        return client

    def _known(self, facts: dict[str, Any]) -> ClientSession | None:
        """Return the session that a client comes back to, if this process of the master knows it."""
        client = self._clients.by_session.get(str(facts.get("session")))
        if client is None or not client.is_found or client.is_detached or client.was_detached:
            return client
        if hmac.compare_digest(client.secret, runs.digest(str(facts.get("token")))):
            self._clients.remove(client)  # only the last master knew it, so it tells everything anew
            self._spool.forget(client)
            return None
        return client

    def _come_back(self, client: ClientSession, writer: FrameStream) -> None:
        client.attach(writer)
        if client.spool is not None:
            self._spool.back(client)
        if client.is_run:
            self._registry.client_event(client.run, "back")

    def _welcome(self, client: ClientSession, is_known: bool, seen: int) -> None:
        welcome = {"dask_port": self._dask_port(), "workers": self._workers.rows(), "release": _version.__version__}
        welcome |= {"time": self._registry.now(), "run": client.run, "session": is_known}
        welcome["largest"] = self._registry.settings.largest_mb
        client.send(replies.Welcome(welcome | {"seen": client.counter.tell()}))
        client.send(replies.Pace(self._observers.subscriptions.pace_s))
        if is_known:
            self.seen(client, seen)
            client.catch_up(seen)

    # ---- leaving

    def left(self, client: ClientSession, writer: FrameStream) -> None:
        """A client's connection is gone: go on without it for a time, or stop its jobs."""
        if client.writer is not writer:
            return None  # it is back over another one
        client.writer = None
        client.take(ClientEvent.BREAK)
        log.debug(f"{described(client)} is not connected any more.")
        self._observers.subscriptions.remove(client)
        client.left_at = asyncio.get_running_loop().time()
        if client.pouring is not None:
            client.pouring.cancel()
        if client.is_run:
            self._registry.client_event(client.run, "left")
        if not client.keeps or client.state is ClientState.ENDED:
            return self.end(client)
        return self.wait_for(client)

    def wait_for(self, client: ClientSession) -> None:
        """Give a client time to come back."""
        client.expiry = asyncio.get_running_loop().call_later(client.absence_s, self.expire, client)

    def expire(self, client: ClientSession) -> None:
        """A client was away too long."""
        client.expiry = None
        if client.is_run and client.is_recoverable:
            self._on_expired(client)
        else:
            self.end(client)

    def end(self, client: ClientSession) -> None:
        """Forget a client and stop its jobs."""
        if client in self._clients:
            self._observers.run_ended(client)
        client.take(ClientEvent.END)
        self._clients.remove(client)
        if client.is_run:
            self._spool.forget(client)
        client.news.set()
        self._batches.end_client(client)

    def end_run(self, run: str) -> None:
        """Stop what a submitted script left behind."""
        for client in [client for client in self._clients if client.run == run]:
            client.take(ClientEvent.BYE)
            if client.writer is None:
                self.end(client)

    def stop(self, client: ClientSession) -> None:
        """Ask a client to stop its jobs; of one that is gone they are stopped."""
        client.send(replies.Stop())
        if client.is_run:
            self._registry.client_event(client.run, "stop")
        if client.writer is None:
            self.end(client)

    def stop_run(self, run: str) -> bool:
        """Stop the jobs of a script that runs elsewhere; say whether there were any."""
        found = [client for client in self._clients if client.run == run and client.is_run]
        for client in found:
            self.stop(client)
        return bool(found)

    # ---- what goes on

    def seen(self, client: ClientSession, number: int) -> None:
        """A client has all frames up to ``number``: workers need not keep them."""
        was_full = client.is_full
        for name, keys in client.seen(number).items():
            worker = self._workers.by_name.get(name)
            if worker is not None:
                self._workers.send(worker, orders.Settled(keys))
        if was_full and not client.is_full:
            self._batches.place()

    def look(self, now: float) -> None:
        """Give signs of life, hang up on those that give none, and end claims that nobody answers; each second."""
        for client in self._clients:
            if client.writer is not None and client.keeps:
                if client.counter.is_due or now - client.pulsed_at > PULSE_S:
                    client.pulsed_at = now
                    client.acknowledge()
                if now - client.heard_at > SILENT_S and not client.is_detached:
                    client.writer.abort()
            if client.claims:
                self._claims.settle(client, now)
            if client.held:
                self._tell_others(client)

    def _tell_others(self, client: ClientSession) -> None:
        """Tell a client what its batches wait for, when that has changed: others' jobs, or workers that have them."""
        others = sum(1 for other in self._clients if other is not client and other.held)
        waiting = ((batch.ident, batch.worker) for batch in client.held.values() if not batch.is_begun)
        placed = {ident: worker for ident, worker in itertools.islice(waiting, TOLD) if worker is not None}
        if (others, placed) != client.others:
            client.others = others, placed
            client.send(replies.Others(others, placed))

    def close(self) -> None:
        """Hang up on all."""
        for client in self._clients:
            if client.expiry is not None:
                client.expiry.cancel()
            self._spool.keep_absent(client)
            if client.writer is not None:
                client.writer.close()


def why_not(client: ClientSession, facts: dict[str, Any], peer: Peer | None, now: float) -> str:
    """Return why somebody may not have a session that is known, or an empty text; ``now`` is the loop's time."""
    if client.is_found:  # its key is known by its digest, and not who had it
        is_its = hmac.compare_digest(client.secret, runs.digest(str(facts.get("token"))))
    else:
        is_its = is_same(client, facts, peer)
    if not is_its:
        return TAKEN
    if client.is_found:
        return AWAY.format("it may be", client.run)
    if client.is_detached:
        is_late = now - client.left_at >= client.absence_s
        return AWAY.format(f"{client.absence_s:.0f} s", client.run) if is_late else TAKEN
    return ""


def is_same(client: ClientSession, facts: dict[str, Any], peer: Peer | None) -> bool:
    """Say whether who comes may have a session: by its key, and by the identity that it began with."""
    told = str(facts.get("token") or "")
    return bool(told) and hmac.compare_digest(client.token, told) and owner_of(client.peer) == owner_of(peer)


def owner_of(peer: Peer | None) -> str:
    """Return the ident of whoever is at the other end; an empty text without encryption."""
    return "" if peer is None else peer.ident
