"""The gateway's listener: who comes is known before a byte of it is read."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any

from octapi.errors import PeerRefused
from octapi.master.gateway.client_state import ClientEvent
from octapi.master.gateway.handshake import compatible, refusal
from octapi.protocol import replies, wire
from octapi.protocol.client_messages import greeting
from octapi.protocol.messages import plain
from octapi.protocol.stream import FrameStream
from octapi.trust.connection_limit import ConnectionLimit
from octapi.trust.names import CLIENT

if TYPE_CHECKING:
    from octapi.master.gateway.gateway import Gateway
    from octapi.master.gateway.session import ClientSession
    from octapi.trust.contexts import Trust
    from octapi.trust.names import Peer

log = logging.getLogger("octapi.master.gateway")

#: how long a client may take to say who it is, in seconds
GREET_S = 10.0
#: clients at once, greeted or not
MOST = 1000


class Listener:
    """Accepts clients for a gateway; without ``trust`` nothing is encrypted and everybody may come."""

    def __init__(self, gateway: Gateway, trust: Trust | None) -> None:
        self.gateway = gateway
        self.trust = trust
        self.server: asyncio.Server | None = None
        self.limit = ConnectionLimit(MOST)
        self._serving: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> int:
        """Listen, and return the port.  Raises OSError when it is taken."""
        tls: dict[str, Any] = {}
        if self.trust is not None:
            tls = {"ssl": self.trust.server, "ssl_handshake_timeout": GREET_S}
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: FrameStream(self._open), host, port, **tls)
        found: int = self.server.sockets[0].getsockname()[1]
        return found

    def close(self) -> None:
        """Listen no more."""
        if self.server is not None:
            self.server.close()

    def _open(self, stream: FrameStream) -> None:
        serving = asyncio.get_running_loop().create_task(self._serve(stream))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, stream: FrameStream) -> None:
        client = None
        self.limit.enter("")
        try:
            peer = self._admit(stream)
            client = await self._greet(stream, peer)
            while client is not None:
                body = await wire.read_body(stream, self._limit(client), progress=client.is_alive)
                if client.writer is not stream:
                    break  # it is back over another connection, where it sends this again
                self._check_member(stream, peer)
                self.gateway.requests.take(client, body)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # it is gone, which is what happens to clients
        except OSError as error:
            if client is None:
                log.warning(f"hung up on a client: {type(error).__name__}: {error}")
        except PeerRefused as error:
            self.gateway.observers.meter.refused += 1
            log.warning(f"refused {stream.get_extra_info('peername')[0]}: {error}")
        except Exception as error:  # whatever one client sends, the others' are served
            self.gateway.observers.meter.refused += 1
            log.warning(f"hung up on a client: {type(error).__name__}: {error}")
            if client is not None and client.writer is stream:  # it would send the same again
                client.take(ClientEvent.BYE)
                text = f"it was sent what it does not understand ({type(error).__name__}: {error})."
                client.send(replies.Refused({"error": "ClusterError", "text": text}))
        finally:
            self.limit.leave("")
            if client is not None:
                self.gateway.sessions.left(client, stream)
            stream.close()
            await stream.wait_closed()

    def _admit(self, stream: FrameStream) -> Peer | None:
        """Return who connected, before anything is read.  Raises :exc:`PeerRefused`, having told the other side why."""
        if self.trust is None:
            return None
        try:
            if self.limit.is_over:
                raise PeerRefused("too many clients are connected")
            return self.trust.admit(stream.get_extra_info("peercert"), (CLIENT,))
        except PeerRefused as error:
            stream.write(wire.pack(plain(replies.Refused({"error": "PeerRefused", "text": f"{error}."}))))
            raise

    def _limit(self, client: ClientSession) -> int:
        """Return how long a frame of a client may be: who has no session brings no jobs, and only asks."""
        return wire.frame_limit(self.gateway.registry.settings.largest_mb) if client.keeps else wire.ASKED

    def _check_member(self, stream: FrameStream, peer: Peer | None) -> None:
        """Raise :exc:`PeerRefused` for a member that was removed since it connected, having told it so."""
        if self.trust is None or peer is None:
            return
        try:
            self.trust.check_member(peer)
        except PeerRefused as error:
            stream.write(wire.pack(plain(replies.Refused({"error": "NotAMember", "text": f"{error}."}))))
            raise

    async def _greet(self, stream: FrameStream, peer: Peer | None) -> ClientSession | None:
        facts = greeting(await asyncio.wait_for(wire.read_frame(stream, 1 << 16), GREET_S))
        self._check_member(stream, peer)
        if not compatible(facts):
            text = refusal(facts)
            log.warning(f"refused a client: {text}")
            stream.write(wire.pack(plain(replies.Refused({"error": "VersionMismatch", "text": text}))))
            return None
        return self.gateway.sessions.greet(stream, facts, peer)
