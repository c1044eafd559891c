"""What the parts of one page share: its model, its feed, its gate, and the way to the supervisor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from octapi.page.events import Hub
from octapi.page.model import Model
from octapi.page.proxies import Network, is_believed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from octapi.page.history import History
    from octapi.page.login import Gate


class Feed(Protocol):
    """Where frames come from, and where questions go."""

    def looking(self) -> AbstractContextManager[None]:
        """Watch for as long as the block lasts."""

    async def fresh(self) -> None:
        """Wait until the state is known."""

    async def ask(self, question: Any) -> Any:
        """Ask the master one of :mod:`octapi.protocol.client_messages`.  Raises :exc:`octapi.errors.OctapiError`."""

    async def close(self) -> None:
        """Watch no more."""


async def nobody(operation: str, **_: Any) -> dict[str, Any]:
    """Stand for the supervisor where there is none."""
    from octapi.errors import OctapiError

    raise OctapiError(f"This cluster lives on one computer and has no {operation}.")


@dataclass
class Site:
    """One page.

    ``names`` are the names of hosts under which it may be asked for; behind a ``proxy`` the headers X-Forwarded-For
    and X-Forwarded-Proto are believed, from loopback and the networks ``proxy_from``.  A page that ``is_secure`` speaks
    HTTPS itself, and HTTP only on loopback.
    ``ask_keeper(operation, **facts)`` reaches the process with the authority's key, and raises
    :exc:`octapi.errors.OctapiError`.  ``members`` and ``refusals`` are the supervisor's latest news.
    """

    gate: Gate
    cluster: str = ""
    names: list[str] = field(default_factory=list)
    proxy: bool = False
    proxy_from: list[Network] = field(default_factory=list)
    ask_keeper: Callable[..., Awaitable[dict[str, Any]]] = nobody
    members: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    history: History | None = None
    dask: str = ""
    is_local: bool = False
    is_secure: bool = False
    model: Model = field(default_factory=Model)

    def __post_init__(self) -> None:
        self.hub = Hub(self.model)
        self.feed: Feed

    def is_proxy(self, address: str) -> bool:
        """Say whether a reverse proxy of ours is at an address."""
        return self.proxy and is_believed(address, self.proxy_from)

    def take(self, frame: dict[str, Any]) -> None:
        """Take one frame of state, and tell everybody."""
        self.hub.publish(self.model.take(frame), frame["stories"])

    def lost(self, now: float, text: str) -> None:
        """The master does not answer: tell everybody."""
        self.hub.publish(self.model.lost(now, text), {})
