"""News of trust on their way from the authority to the gateway, its clients and its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from octapi.master.gateway.client_state import ClientEvent
from octapi.protocol import orders, replies, wire
from octapi.trust.identity import Identity

if TYPE_CHECKING:
    from octapi.engine.guard import Guard
    from octapi.master.gateway.gateway import Gateway


class TrustUpdates:
    """Applies what the authority's process tells: the time, who was removed, which authorities count, the roster."""

    def __init__(self, gateway: Gateway, guard: Guard) -> None:
        self.gateway = gateway
        self.guard = guard

    def take(self, news: dict[str, Any]) -> None:
        """Apply one message, and pass it on to the workers."""
        trust = self.guard.trust
        trust.clock.set(news["time"])
        self.gateway.queries.roster = news["roster"]
        self.gateway.observers.meter.key = news.get("metrics", "")
        self.gateway.observers.meter.refused_joins = news.get("refused", 0)
        self.gateway.access.owners = set(news.get("owners", ()))
        if "viewers" in news:
            self.gateway.access.viewers = set(news["viewers"])
        if "identity" in news:
            trust.renew(Identity.from_json(news["identity"]))
        trust.accept(news["authorities"])
        self._drop(set(news["removed"]) - trust.removed)
        lasting = {key: news[key] for key in ("time", "removed", "authorities")}
        lasting["metrics"] = self.gateway.observers.meter.key
        lasting["largest"] = wire.frame_limit(self.gateway.registry.settings.largest_mb)
        self.gateway.workers.send_all(orders.Trust(lasting | {"renew": bool(news.get("renew"))}))
        self.gateway.reports.trust = lasting

    def _drop(self, removed: set[str]) -> None:
        """Cut the connections of members that were removed, and let Dask forget their workers."""
        self.guard.trust.removed |= removed
        for client in [c for c in self.gateway.clients if c.peer is not None and c.peer.ident in removed]:
            text = f"{client.peer} was removed from this cluster."
            client.send(replies.Refused({"error": "NotAMember", "text": text}))
            client.take(ClientEvent.BYE)
            if client.writer is not None:
                client.writer.close()
        for address in self.guard.drop(removed):
            self.gateway.workers.remove(address)
