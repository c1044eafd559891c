"""Dask's clients inside tasks: when a worker may act as one, and for whom.

A task that submits tasks does so with its worker's certificate.  A worker that runs a client's Dask tasks could run
code as that client anyway, by what it gives back, so while it has some it may submit more; without any it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from octapi.errors import RoleRefused
from octapi.trust.policy import NESTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.trust.address_owners import AddressOwners
    from octapi.trust.names import Peer

#: how Dask names the clients that tasks make; :data:`octapi.engine.dask_nodes.NESTED`, without importing Dask
PREFIX: Final = "Client-worker-"
#: the request by which a client's connection begins, and the words by which it ends
OPENS: Final = "register-client"
ENDS: Final = frozenset({"close-stream", "keep-alive"})
#: what a client inside a task may still say once its worker has no more tasks: that it lives, and needs less
FREES: Final = frozenset({"heartbeat-client", "client-releases-keys", "close-client"})


def is_nested(message: dict[str, Any], opened: str, *, is_stream: bool) -> bool:
    """Say whether a message is one that only a client inside a task sends, or comes over such a client's connection."""
    return opened == OPENS if is_stream else message.get("op") in NESTED.rpc


class NestedClients:
    """When a worker may send what only a client sends, and as which client, so that none speaks for another's.

    ``has_tasks(peer)`` says whether a worker has tasks or results of Dask's.
    """

    def __init__(self, address_owners: AddressOwners, has_tasks: Callable[[Peer], bool]) -> None:
        self._address_owners = address_owners
        self.has_tasks = has_tasks

    def check(self, peer: Peer, message: dict[str, Any], opened: str, *, is_stream: bool) -> None:
        """Raise :exc:`RoleRefused` unless a worker may send this message of a client."""
        operation, name = message.get("op"), message.get("client")
        if is_stream and operation not in NESTED.stream | ENDS:
            raise RoleRefused(f"A client inside a task may not call {operation!r:.60} on a scheduler.")
        if not (is_stream and operation in FREES | ENDS) and not self.has_tasks(peer):
            raise RoleRefused(f"A worker may not call {operation!r:.60} on a scheduler while it has no tasks of Dask.")
        if operation == OPENS:
            if not isinstance(name, str) or not name.startswith(PREFIX):
                raise RoleRefused(f"{peer} may not register the client {name!r:.60}.")
        elif name is not None and not (isinstance(name, str) and self._is_own(peer, name)):
            raise RoleRefused(f"{peer} may not speak for the client {name!r:.60}.")
        self._address_owners.check_client(peer, message, is_stream=is_stream)

    def _is_own(self, peer: Peer, name: str) -> bool:
        """Say whether this client was made on that worker."""
        owner = self._address_owners.by_client.get(name)
        return owner is not None and owner.ident == peer.ident and name.startswith(PREFIX)
