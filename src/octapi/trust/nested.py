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

    from octapi.trust.names import Peer

#: how Dask names the clients that tasks make; :data:`octapi.dasknode.NESTED`, without importing Dask
PREFIX: Final = "Client-worker-"


def is_nested(message: Any, *, is_stream: bool) -> bool:
    """Say whether a message is one of those that only a client inside a task sends."""
    return isinstance(message, dict) and message.get("op") in (NESTED.stream if is_stream else NESTED.rpc)


class Nested:
    """Which clients were made by tasks of which worker, so that none speaks for another's.

    ``has_tasks(peer)`` says whether a worker has tasks or results of Dask's, ``is_client(name)`` whether a client of
    this name is here.
    """

    def __init__(self, has_tasks: Callable[[Peer], bool], is_client: Callable[[str], bool]) -> None:
        self._has_tasks = has_tasks
        self._is_client = is_client
        self._owners: dict[str, str] = {}

    def check(self, peer: Peer, message: dict[str, Any]) -> None:
        """Raise :exc:`RoleRefused` unless a worker may send this message of a client."""
        operation, name = message.get("op"), message.get("client")
        if not self._has_tasks(peer):
            raise RoleRefused(f"A worker may not call {operation!r} on a scheduler while it has no tasks of Dask.")
        if operation == "register-client":
            self._register(peer, name)
        elif name is not None and self._owners.get(str(name)) != peer.ident:
            raise RoleRefused(f"{peer} may not speak for the client {str(name)[:60]!r}.")

    def _register(self, peer: Peer, name: Any) -> None:
        if not isinstance(name, str) or not name.startswith(PREFIX):
            raise RoleRefused(f"{peer} may not register the client {str(name)[:60]!r}.")
        if self._owners.get(name, "" if self._is_client(name) else peer.ident) != peer.ident:
            raise RoleRefused(f"{peer} may not register the client {name[:60]!r}, which is another's.")
        self._owners[name] = peer.ident

    def forget(self, name: str) -> None:
        """A client has gone."""
        self._owners.pop(name, None)
