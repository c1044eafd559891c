"""The way to a master: where it may be, and how both sides know each other."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any

from octapi import errors
from octapi.errors import (
    ClusterError,
    MasterNotFound,
    NotAMember,
    PeerRefused,
    TrustError,
    VersionMismatch,
)
from octapi.protocol import wire
from octapi.protocol.messages import kind_of, plain
from octapi.protocol.stream import FrameStream, connect
from octapi.text.reasons import in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.trust.contexts import Trust

DEFAULT_PORT = 8786
#: the least time one attempt to connect, or the master's greeting, may take, in seconds
CONNECT_S = 1.0
#: how long after one search in the network the next may begin, in seconds
LOOK_S = 10.0
LOGIN = (
    "This computer has no identity in a cluster. On the master run 'octapi token create --role client', here run "
    "'octapi login TOKEN'. (For a master that was started with --insecure, set OCTAPI_INSECURE=1.)"
)


class MasterEndpoint:
    """How to reach one master's gateway.

    ``places`` are ``(host, port)``, tried in order.  With ``trust`` the connection is TLS and the master must prove
    itself; without it everything is plain, and only an ``insecure`` master answers.
    """

    def __init__(
        self, places: list[tuple[str, int]], trust: Trust | None, *, insecure: bool = False, source: str = ""
    ) -> None:
        self.places = places
        self.trust = trust
        self.insecure = insecure
        #: what another process can find this way again by: an address, or the path of an identity
        self.source = source or self.label
        self.host, self.port = places[0]
        #: gets a fresh identity when the master does not accept this one, and returns the way with it
        self.again: Callable[[], MasterEndpoint] | None = None
        #: looks for a master that has moved, and returns the way to it
        self.look: Callable[[], MasterEndpoint | None] | None = None
        #: does the same once the master was there and has gone
        self.rediscover_after_loss: Callable[[], MasterEndpoint | None] | None = None
        self._look_next = 0.0
        self._certificate: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """Name it for people."""
        return " or ".join(f"{host}:{port}" for host, port in self.places)

    @property
    def place(self) -> str:
        """Return where the master answered last."""
        return f"{self.host}:{self.port}"

    async def open(self, patience_s: float) -> FrameStream:
        """Connect to the first place where the master answers; if it answers nowhere, to where it is found.

        Raises OSError when it answers nowhere, and :exc:`TrustError` when only somebody else does.
        """
        try:
            return await self._first(self.places, patience_s)
        except (OSError, PeerRefused):
            fresh = await self._look()
            if fresh is None:
                raise
            self.places = fresh.places
        return await self._first(self.places, patience_s)

    async def _look(self) -> MasterEndpoint | None:
        """Look for a master that has moved; not more often than makes sense."""
        now = time.monotonic()
        if self.look is None or now < self._look_next:
            return None
        self._look_next = now + LOOK_S
        try:
            return await asyncio.to_thread(self.look)
        except (OSError, subprocess.SubprocessError):
            return None

    async def _first(self, places: list[tuple[str, int]], patience_s: float) -> FrameStream:
        failed: Exception = OSError("no address is known")
        for host, port in places:
            try:
                return await self._open(host, port, max(patience_s, CONNECT_S))
            except ssl.SSLError as error:
                failed = PeerRefused(not_tls(f"{host}:{port}", error))
            except PeerRefused as error:
                failed = error
            except OSError as error:
                failed = failed if isinstance(failed, PeerRefused) else error
        raise failed

    async def _open(self, host: str, port: int, patience_s: float) -> FrameStream:
        async with asyncio.timeout(patience_s):
            stream = await connect(host, port)
        if self.trust is not None:
            try:
                async with asyncio.timeout(patience_s):
                    await stream.start_tls(self.trust.client)
            except ssl.SSLError:
                raise
            except OSError as error:  # it hung up, or said nothing
                stream.close()
                raise ConnectionError(no_tls(f"{host}:{port}")) from error
        try:
            self._admit(stream)
        except TrustError:
            stream.close()
            raise
        self.host, self.port = host, port
        return stream

    def _admit(self, stream: FrameStream) -> None:
        if self.trust is None:
            if not self.insecure:
                raise NotAMember(LOGIN)
            return
        from octapi.trust.names import MASTER

        self._certificate = stream.get_extra_info("peercert") or {}
        self.trust.admit(self._certificate, (MASTER,), dates=False)

    def confirm(self, epoch: float) -> None:
        """Take the master's time, and check its certificate's dates by it.  Raises :exc:`PeerRefused`."""
        if self.trust is None:
            return
        from octapi.trust import names

        now = max(epoch, self.trust.identity.begins)
        self.trust.clock.set(now)
        names.check_dates(self._certificate, now)


def not_tls(address: str, error: ssl.SSLError) -> str:
    """Say why TLS failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"Whoever answers at {address} has a certificate of another authority: it is not the master of this "
            "cluster, or its identity was made anew. Then join again with a new token."
        )
    return no_tls(address)


def no_tls(address: str) -> str:
    """Say that somebody answers who is no secured master."""
    return (
        f"Whoever answers at {address} does not speak TLS as this cluster's master does. "
        "Was it started with --insecure?"
    )


def refused(facts: object, address: str) -> ClusterError:
    """Return the error for a master's refusal."""
    plain = facts if isinstance(facts, dict) else {"text": str(facts)}
    kind = errors.by_name(plain.get("error"), ClusterError, VersionMismatch)
    return kind(f"The master at {address} refused the connection: {plain.get('text')}")


async def ask(way: MasterEndpoint, patience_s: float, hello: dict[str, Any], question: object) -> Any:
    """Ask a master one of :mod:`octapi.protocol.client_messages`, and return its answer.

    Raises :exc:`MasterNotFound` and what :func:`refused` returns.
    """
    from octapi.protocol.client_messages import Bye  # a script on this computer alone needs none of them

    stream = None
    try:
        stream = await way.open(patience_s)
        stream.write(wire.pack(("hello", hello)) + wire.pack(plain(question)))
        kind, facts = await asyncio.wait_for(wire.read_frame(stream), patience_s)
        if kind == "refused":
            raise refused(facts, way.label)
        way.confirm(facts["time"])
        while kind != kind_of(question).word:
            kind, facts, *_ = await asyncio.wait_for(wire.read_frame(stream), patience_s)
        stream.write(wire.pack(plain(Bye())))
        return facts
    except (OSError, asyncio.IncompleteReadError) as error:
        raise MasterNotFound(f"No master answers at {way.label} ({in_words(error)}).") from error
    finally:
        if stream is not None:
            stream.close()
            await stream.wait_closed()
