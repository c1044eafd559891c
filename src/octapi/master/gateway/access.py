"""Who may see and do what with a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from octapi.trust import names

if TYPE_CHECKING:
    from octapi.master.gateway.registry import RunRegistry
    from octapi.master.gateway.session import ClientSession
    from octapi.store.runs import Run
    from octapi.trust.names import Peer


class Access:
    """``owners`` are the idents of the logins that own the master.

    ``viewers`` are those that see everything of every run; None where all do, in the cluster of one script.
    """

    def __init__(self, registry: RunRegistry) -> None:
        self._registry = registry
        self.owners: set[str] = set()
        self.viewers: set[str] | None = None

    def may(self, run: Run, peer: Peer | None) -> bool:
        """Say whether a client may see the output of a run, stop it and fetch its results."""
        if peer is None or peer.ident == run.owner or peer.ident in self.owners:
            return True
        return peer.ident == names.ident_of_run(peer.cluster, run.id)

    def may_read(self, client: ClientSession, run: str) -> bool:
        """Say whether a watcher may read what a run printed, its arguments and its tracebacks."""
        if client.peer is None or self.viewers is None or client.peer.ident in self.viewers:
            return True
        found = self._registry.find(run)
        return found is not None and self.may(found, client.peer)

    def public(self, client: ClientSession, run: Run) -> dict[str, Any]:
        """Describe a run for a client: its arguments, which may be passwords, as its output only to those who may."""
        peer = client.peer
        may = peer is None or peer.ident in (self.viewers or ()) or self.may(run, peer)
        return run.public() if may else run.public() | {"arguments": []}
