"""Who connects to the page: few from each address, and nobody who says nothing for long.

browser ── TCP ──────> Callers       counted before its first byte; one too many is hung up on
browser ── TLS ──────> Callers       ten seconds for the handshake
browser ── request ──> Impatient     ten seconds until it is complete, and for each later one
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from octapi.trust.connection_limit import ConnectionLimit

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

#: how long somebody may take for the handshake, and for one request, in seconds
PATIENCE_S: Final = 10.0
#: connections at once, and of these from one address: a class behind one router has that many browsers
MOST: Final = 500
MOST_OF_ONE: Final = 100
#: between two lines of the log that say the same, in seconds
SAID_S: Final = 60.0
#: before the next try when there are no descriptors left, in seconds
AGAIN_S: Final = 1.0


class Impatient(H11Protocol):
    """HTTP that hangs up on whoever does not complete a request; an answer may take as long as it likes."""

    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Expect a request."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        self._expect()

    def on_response_complete(self) -> None:
        """Expect the next request; without any of it the connection is closed even earlier."""
        super().on_response_complete()
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._rest()
        super().connection_lost(exc)

    def _expect(self) -> None:
        cycle = self.cycle
        is_complete = cycle is not None and not cycle.more_body and not cycle.response_complete
        if is_complete or self.transport.is_closing() or self.transport.get_protocol() is not self:  # a WebSocket
            self._rest()
        elif self._clock is None:
            self._clock = self.loop.call_later(PATIENCE_S, self.transport.abort)

    def _rest(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


class Callers:
    """Lets connections in.

    ``make`` makes the protocol of one, ``is_proxy`` says of an address that many people come from there, and ``log``
    is told of who has too many.  With a ``context`` they speak TLS.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        is_proxy: Callable[[str], bool],
        log: Callable[[str], None],
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._make = make
        self._is_proxy = is_proxy
        self._log = log
        self._context = context
        self._limit = ConnectionLimit(MOST, MOST_OF_ONE)
        self._open: list[tuple[str, socket.socket]] = []
        self._coming: set[asyncio.Task[None]] = set()
        self._said = -SAID_S

    async def serve(self, sock: socket.socket) -> None:
        """Let in whoever comes to a listening socket, until cancelled."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        while True:
            try:
                caller, peer = await loop.sock_accept(sock)
            except ConnectionAbortedError:  # it hung up before it was let in
                continue
            except OSError as error:
                self._say(f"cannot take connections: {error.strerror}.")
                await asyncio.sleep(AGAIN_S)
                continue
            address = str(peer[0])
            if not self._may_come(address):
                caller.close()
                continue
            self._open.append((address, caller))
            self._limit.enter(address)
            task = asyncio.create_task(self._let_in(caller))
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)

    def _may_come(self, address: str) -> bool:
        for gone in [row for row in self._open if row[1].fileno() < 0]:  # a closed socket has none
            self._open.remove(gone)
            self._limit.leave(gone[0])
        if self._limit.has_room(address, is_many=self._is_proxy(address)):
            return True
        here, of_one = self._limit.here.total(), self._limit.here[address]
        self._say(f"refused {address}: {here} connections are open, {of_one} of them from there.")
        return False

    def _say(self, text: str) -> None:
        if time.monotonic() - self._said >= SAID_S:
            self._said = time.monotonic()
            self._log(text)

    async def _let_in(self, caller: socket.socket) -> None:
        limits: dict[str, Any] = {}
        if self._context is not None:
            limits = {"ssl": self._context, "ssl_handshake_timeout": PATIENCE_S, "ssl_shutdown_timeout": PATIENCE_S}
        with contextlib.suppress(OSError):  # no TLS, too slow, or gone; the socket is closed then
            await asyncio.get_running_loop().connect_accepted_socket(self._make, caller, **limits)
