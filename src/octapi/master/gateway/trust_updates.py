"""News of trust on their way from the authority to the gateway, its clients and its workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from octapi.trust.identity import Identity

if TYPE_CHECKING:
    from octapi.engine.dask_comm import Guard
    from octapi.master.gateway.gateway import Gateway


class TrustUpdates:
    """Applies what the authority's process tells: the time, who was removed, which authorities count, the roster."""

    def __init__(self, gateway: Gateway, guard: Guard) -> None:
        self.gateway = gateway
        self.guard = guard
        self._leaving: set[asyncio.Future[Any]] = set()

    def take(self, news: dict[str, Any]) -> None:
        """Apply one message, and pass it on to the workers."""
        trust = self.guard.trust
        trust.clock.set(news["time"])
        self.gateway.roster = news["roster"]
        self.gateway.meter.key = news.get("metrics", "")
        self.gateway.meter.refused_joins = news.get("refused", 0)
        self.gateway.submissions.owners = set(news.get("owners", ()))
        if "viewers" in news:
            self.gateway.viewers = set(news["viewers"])
        if "identity" in news:
            trust.renew(Identity.from_json(news["identity"]))
        trust.accept(news["authorities"])
        self._drop(set(news["removed"]) - trust.removed)
        lasting = {key: news[key] for key in ("time", "removed", "authorities")}
        lasting["metrics"] = self.gateway.meter.key
        self.gateway.tell_agents(("trust", lasting | {"renew": bool(news.get("renew"))}))
        self.gateway.latest = lasting

    def _drop(self, removed: set[str]) -> None:
        """Cut the connections of members that were removed, and let Dask forget their workers."""
        self.guard.trust.removed |= removed
        clients = self.gateway.clients.values()
        for client in [c for c in clients if c.peer is not None and c.peer.ident in removed]:
            client.send("refused", {"error": "NotAMember", "text": f"{client.peer} was removed from this cluster."})
            client.said_bye = True
            if client.writer is not None:
                client.writer.close()
        scheduler = self.gateway.scheduler
        for address in self.guard.drop(removed):
            leaving = asyncio.ensure_future(
                scheduler.remove_worker(address=address, stimulus_id="octapi-removed", close=False)
            )
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
