"""The clients that a master knows: those that are connected, may come back, or are acted for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from octapi.master.gateway.session import ClientSession


class Clients:
    """Clients by their number here, and those that have a session by its name."""

    def __init__(self) -> None:
        self.by_number: dict[int, ClientSession] = {}
        self.by_session: dict[str, ClientSession] = {}

    def __iter__(self) -> Iterator[ClientSession]:
        return iter(list(self.by_number.values()))

    def __contains__(self, client: ClientSession) -> bool:
        return client.number in self.by_number

    def add(self, client: ClientSession) -> None:
        """Know a client; one that only asks has no session to come back to."""
        self.by_number[client.number] = client
        if client.keeps:
            self.by_session[client.session] = client

    def remove(self, client: ClientSession) -> None:
        """Know a client no more."""
        if client.expiry is not None:
            client.expiry.cancel()
        self.by_number.pop(client.number, None)
        self.by_session.pop(client.session, None)

    def others_with(self, digest: str, client: ClientSession) -> bool:
        """Say whether a computation is another client's."""
        return any(digest in other.computations for other in self if other is not client)
