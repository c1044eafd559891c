"""The door for monitoring systems: HTTP over TLS that answers GET for a few paths, to whoever shows the token.

It shows the certificate of this device and asks for none.  A request is small and comes quickly, and few may come at
once; whoever shows no token learns nothing, not even which paths there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

from octapi.errors import AddressError, SettingsError
from octapi.protocol.small_http import HEAD_LIMIT, Answer, Request, get, read_request, send
from octapi.text import addresses
from octapi.trust import metrics_token
from octapi.trust.connection_limit import ConnectionLimit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Collection, Mapping

#: how long a request and its answer may take, in seconds
PATIENCE_S = 10.0
#: connections at once
MOST = 16
#: the longest answer of a node_exporter, in bytes
NODE_LIMIT = 8 << 20
#: how often those who were refused are told to the log, in seconds
SAY_S = 60.0


class MetricsServer:
    """Answers for ``routes``, a function for each path.  ``key()`` is what is known of the token; ``log`` is told."""

    def __init__(
        self, routes: Mapping[str, Callable[[], Awaitable[Answer]]], key: Callable[[], str], log: Callable[[str], None]
    ) -> None:
        self.routes = routes
        self.key = key
        self.log = log
        self.server: asyncio.Server | None = None
        self.limit = ConnectionLimit(MOST)
        self._said = -SAY_S

    async def listen(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Listen on a bound socket."""
        self.server = await asyncio.start_server(
            self._serve, sock=sock, ssl=context, ssl_handshake_timeout=PATIENCE_S, limit=HEAD_LIMIT
        )

    def close(self) -> None:
        """Listen no more."""
        if self.server is not None:
            self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with self.limit.entered("") as has_room:
                if has_room:
                    await asyncio.wait_for(self._converse(reader, writer), PATIENCE_S)
        except (TimeoutError, OSError, EOFError, asyncio.LimitOverrunError):
            pass  # it went away, or never asked; there is nobody to tell
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        refusal = refused(request, self.key(), self.routes)
        if refusal is not None and refusal.status == 401:
            self._tell(str(writer.get_extra_info("peername")[0]))
        assert request is not None or refusal is not None
        answer = refusal if refusal is not None or request is None else await self.routes[request.path]()
        assert answer is not None
        await send(writer, answer)

    def _tell(self, address: str) -> None:
        if time.monotonic() - self._said >= SAY_S:
            self._said = time.monotonic()
            self.log(f"metrics: refused {address}, which did not show the token ('octapi token metrics').")


def refused(request: Request | None, key: str, paths: Collection[str]) -> Answer | None:
    """Return why a request is not answered; None if it is."""
    if request is None:
        return Answer(b"This is no request.\n", status=400)
    if not metrics_token.matches(request.headers.get("authorization", ""), key):
        return Answer(b"Show the token of 'octapi token metrics'.\n", status=401)
    if request.method != "GET":
        return Answer(b"Only GET is answered.\n", status=405)
    return None if request.path in paths else Answer(b"There is nothing here.\n", status=404)


# ---- places


def place(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``.  Raises :exc:`SettingsError` for anything else."""
    try:
        return addresses.split(text, None, lowest=0)
    except AddressError as error:
        raise SettingsError(
            f"{text!r} is not HOST:PORT. Write an address of this device, such as 0.0.0.0:8790."
        ) from error


def bound(text: str) -> socket.socket:
    """Return a socket bound to ``HOST:PORT``.  Raises :exc:`SettingsError` when that cannot be."""
    host, port = place(text)
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(
            f"Metrics cannot be served at {text}: {error}. Choose another --metrics HOST:PORT."
        ) from error


def facts_of(sock: socket.socket, *, has_node: bool) -> dict[str, object]:
    """Return what a worker tells its master of its door; no host if it listens at all addresses."""
    host, port = sock.getsockname()[:2]
    return {"host": "" if host in ("0.0.0.0", "::") else host, "port": port, "node": has_node}


# ---- the node_exporter behind a door


async def node(where: tuple[str, int]) -> Answer:
    """Return what the node_exporter at ``where`` tells of the device; it listens where the network does not reach."""
    try:
        body = await asyncio.wait_for(fetch(*where), PATIENCE_S / 2)
    except (OSError, TimeoutError, EOFError, ValueError) as error:
        why = f"The node_exporter at {where[0]}:{where[1]} does not answer: {error or type(error).__name__}.\n"
        return Answer(why.encode(), status=502)
    return Answer(body, "text/plain; version=0.0.4; charset=utf-8")


async def fetch(host: str, port: int) -> bytes:
    """GET ``/metrics``.  Raises OSError, and ValueError when the answer is none or too long."""
    reader, writer = await asyncio.open_connection(host, port, limit=HEAD_LIMIT)
    found = await get(reader, writer, "/metrics", f"{host}:{port}", NODE_LIMIT)
    if found.status != 200:
        raise ValueError(f"it says {found.status}")
    return found.body
