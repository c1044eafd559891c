"""The door: where devices join, renew, and ask how things stand.  Runs beside the authority's key, and nowhere else.

    device ── TLS ──> Door          the certificate of the authority itself, under the key that the device asked for
    device <── greeting ──          its certificate, the cluster's name, the master's time, a nonce
    device ── one request ──>       join (with a token), renew, call or leave (with its certificate)
    device <── ok or error ──

A device that offers HTTP in its handshake (ALPN) is led to the counter instead, where it may fetch wheels.

Frames are msgpack of at most 64 KiB.  A stranger has ten seconds, and few attempts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from octapi import _version
from octapi.device import files
from octapi.errors import MessageRefused, NotAMember, OctapiError, PeerRefused, TokenRefused, TokenUnknown, TrustError
from octapi.protocol import wire
from octapi.protocol.checked import plain, record
from octapi.trust import names
from octapi.trust.connection_limit import ConnectionLimit
from octapi.trust.contexts import HANDSHAKE_S, server_context
from octapi.trust.names import JOINABLE, Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.trust.authority import Authority, Root

log = logging.getLogger("octapi.trust")

PROTOCOL: Final = 1
FRAME_LIMIT: Final = 1 << 16
#: connections at once, and of these from one address
MOST: Final = 64
MOST_OF_ONE: Final = 8
#: wrong tokens that an address, or everybody together, may show within a minute
WRONG_OF_ONE: Final = 5
WRONG_OF_ALL: Final = 100
WINDOW_S: Final = 60.0
#: what a device says in its handshake that comes for wheels
HTTP: Final = "http/1.1"
#: what a device may ask for; each of its texts is read by whoever needs it
REQUEST: Final = record({}, rest=plain(2, 20, FRAME_LIMIT))


class Attempts:
    """Counts wrong tokens, so that nobody can guess many."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._wrong: dict[str, deque[float]] = {}

    def wait_s(self, address: str) -> float:
        """Return how long an address must wait before its next attempt, in seconds."""
        waits = [self._wait(address, WRONG_OF_ONE), self._wait("", WRONG_OF_ALL)]
        return max(waits)

    def _wait(self, key: str, most: int) -> float:
        wrong = self._wrong.get(key)
        if wrong is None:
            return 0.0
        now = self._now()
        while wrong and wrong[0] <= now - WINDOW_S:
            wrong.popleft()
        if not wrong:
            del self._wrong[key]
        return wrong[-most] + WINDOW_S - now if len(wrong) >= most else 0.0

    def count(self, address: str) -> None:
        """Note a wrong token."""
        for key, most in ((address, WRONG_OF_ONE), ("", WRONG_OF_ALL)):
            self._wrong.setdefault(key, deque(maxlen=most)).append(self._now())
            if len(self._wrong) > 4096:  # a flood from many addresses; the limit of all together holds
                self._wrong = {"": self._wrong[""]}


class EnrolmentServer:
    """Serves joins, renewals and calls.

    ``on_refused`` is told of whom it sent away and why, ``on_change`` of new and renewed members.
    """

    def __init__(
        self,
        authority: Authority,
        on_refused: Callable[[str], None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
        standing: Callable[[str], dict[str, Any]] = lambda _: {},
        counter: Any = None,
    ) -> None:
        self.authority = authority
        self.on_refused = on_refused
        self.on_change = on_change
        #: what a member that comes from an address is told besides: addresses and ports of the master
        self.standing = standing
        #: serves HTTP with ``serve(reader, writer, address, authority)``: see :mod:`octapi.install.wheel_server`
        self.counter = counter
        self.attempts = Attempts()
        #: requests that were refused since the start
        self.refused = 0
        self.server: asyncio.Server | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.limit = ConnectionLimit(MOST, MOST_OF_ONE)

    async def listen(self, host: str, port: int) -> int:
        """Listen, and return the port.  Raises OSError when it is taken."""
        self.server = await asyncio.start_server(
            self._serve, host, port, ssl=self._front(), ssl_handshake_timeout=HANDSHAKE_S, limit=FRAME_LIMIT
        )
        found: int = self.server.sockets[0].getsockname()[1]
        return found

    async def close(self) -> None:
        """Listen no more."""
        if self.server is not None:
            self.server.close()

    # ---- TLS

    def _front(self) -> ssl.SSLContext:
        """Return the context that picks another by the authority that a device asks for."""
        context = self._context(self.authority.state.roots[0])

        def pick(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            connection.context = self._context(self._root(name))

        context.sni_callback = pick
        return context

    def _root(self, name: str | None) -> Root:
        wanted = (name or "").partition(".")[0]
        roots = self.authority.state.roots
        return next((root for root in roots if root.ident == wanted), roots[0])

    def _context(self, root: Root) -> ssl.SSLContext:
        if root.ident not in self._contexts:
            context = server_context()
            context.verify_mode = ssl.CERT_OPTIONAL
            if self.counter is not None:
                context.set_alpn_protocols([HTTP])
            key, certificate = self.authority.server(root)
            with files.passing(certificate + key) as path:
                context.load_cert_chain(path)
            self._contexts[root.ident] = context
        known = "\n".join(root.certificate for root in self.authority.state.roots)
        self._contexts[root.ident].load_verify_locations(cadata=known)
        return self._contexts[root.ident]

    # ---- one connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = str(writer.get_extra_info("peername")[0])
        try:
            if writer.get_extra_info("ssl_object").selected_alpn_protocol() == HTTP:
                root = self._root(self._asked(writer))
                await self.counter.serve(reader, writer, address, root.certificate)
            else:
                with self.limit.entered(address) as has_room:
                    if has_room:
                        await asyncio.wait_for(self._converse(reader, writer, address), HANDSHAKE_S)
        except asyncio.IncompleteReadError as error:
            if error.partial:  # whoever only looked at the greeting did as it should
                log.warning(f"joining: {address} hung up in the middle of a request.")
        except (ConnectionError, TimeoutError, ssl.SSLError) as error:
            log.warning(f"joining: {address} went away: {type(error).__name__}")
        except (OctapiError, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            log.warning(f"joining: {address} sent something that is no request: {type(error).__name__}")
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        nonce = secrets.token_bytes(16)
        root = self._root(self._asked(writer))
        greeting = {
            "protocol": PROTOCOL,
            "release": _version.__version__,
            "cluster": self.authority.state.cluster,
            "cluster_id": self.authority.state.cluster_id,
            "time": self.authority.now(),
            "nonce": nonce,
            "authority": root.certificate,
        }
        writer.write(wire.pack(greeting))
        request = await wire.read_frame(reader, FRAME_LIMIT)
        try:
            answer: dict[str, Any] = {"ok": self._answer(REQUEST(request), self._proven(writer), nonce, address)}
        except MessageRefused:
            raise
        except TrustError as error:
            self.refused += 1
            answer = {"error": type(error).__name__, "text": str(error)}
        writer.write(wire.pack(answer))
        await writer.drain()

    def _asked(self, writer: asyncio.StreamWriter) -> str | None:
        """Return which root's context serves this connection."""
        context = writer.get_extra_info("ssl_object").context
        return next((ident for ident, known in self._contexts.items() if known is context), None)

    def _proven(self, writer: asyncio.StreamWriter) -> Peer | None:
        """Return who showed a certificate, expired or not; None for a stranger."""
        certificate = writer.get_extra_info("peercert")
        try:
            return names.peer_of(certificate) if certificate else None
        except PeerRefused:
            return None

    def _answer(self, request: dict[str, Any], proven: Peer | None, nonce: bytes, address: str) -> dict[str, Any]:
        operation = request.get("op")
        if operation == "join":
            return self._join(request, proven, nonce, address)
        if operation == "token":
            return self._about_token(request, address)
        if operation not in ("renew", "call", "leave"):
            raise TrustError(f"The master does not know the request {str(operation)[:40]!r}.")
        if proven is None or proven.role not in JOINABLE:
            raise NotAMember("The master does not know this identity. Join with a token.")
        member = self.authority.standing(proven)
        member.address = address
        if operation == "call":
            log.debug(f"{proven} at {address} asked how things stand.")
            facts = {"authorities": self.authority.authorities(), "due": self.authority.is_due(proven)}
            return self.standing(address) | facts | {"seen": address}
        if operation == "leave":
            self.authority.leave(proven)
            log.info(f"{proven} at {address} left the cluster.")
            self.on_change()
            return {}
        answer = self.authority.renew(
            proven, text(request, "csr"), nonce, address=address, ssh_key=text(request, "ssh_key")
        )
        log.info(f"{proven} at {address} renewed its certificate.")
        self.on_change()
        return answer | self.standing(address)

    def _join(self, request: dict[str, Any], proven: Peer | None, nonce: bytes, address: str) -> dict[str, Any]:
        role, name = text(request, "role"), text(request, "name")
        ident, secret = text(request, "token"), request.get("secret")
        try:
            answer = self.authority.join(
                ident,
                secret if isinstance(secret, bytes) else b"",
                role,
                name,
                text(request, "csr"),
                nonce,
                proven,
                address=address,
                ssh_key=text(request, "ssh_key"),
            )
        except TrustError as error:
            if isinstance(error, TokenUnknown):
                self._count_wrong(address)
            self._refuse(f"refused {name[:64]!r} at {address} with token {ident[:8]!r}: {error}")
            raise
        log.info(f"{role} {name} joined from {address} with token {ident}.")
        self.on_change()
        return answer | self.standing(address)

    def _refuse(self, text: str) -> None:
        log.warning(f"joining: {text}")
        self.on_refused(text)

    def _about_token(self, request: dict[str, Any], address: str) -> dict[str, Any]:
        """Say how a token stands, to who has its secret; it is not used."""
        ident, secret = text(request, "token"), request.get("secret")
        try:
            row = self.authority.ledger.known_token(ident, secret if isinstance(secret, bytes) else b"")
        except TokenUnknown:
            self._count_wrong(address)
            raise
        return row.public(self.authority.now())

    def _count_wrong(self, address: str) -> None:
        """Note a wrong token.  Raises :exc:`TokenRefused` after too many.

        Right ones are never refused for that: strangers would otherwise keep everybody from joining, and 128 random
        bits are not guessed.
        """
        wait_s = self.attempts.wait_s(address)
        if wait_s:
            self._refuse(f"{address} tries too often; wrong tokens are refused for another {wait_s:.0f} s.")
            raise TokenRefused(f"Too many wrong tokens came from {address}. Wait {wait_s:.0f} seconds and try again.")
        self.attempts.count(address)


def text(request: dict[str, Any], key: str) -> str:
    """Return a text of a request.  Raises :exc:`TrustError` when it is none."""
    value = request.get(key, "")
    if not isinstance(value, str):
        raise TrustError(f"The request's {key} is not a text.")
    return value
