"""One process's trust: the TLS contexts it listens and connects with, and whom it lets in.

OpenSSL checks chains and keys.  Dates, roles, removals and retired authorities are checked here, on every new
connection and before its first byte is read: dates because devices have wrong clocks and go by the master's, the rest
because a live context cannot forget an authority.
"""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Any, Final

from octapi.device import files
from octapi.errors import PeerRefused, TrustError
from octapi.trust import names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from octapi.trust.identity import Identity
    from octapi.trust.names import Peer

#: X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which the module ssl does not name
NO_CHECK_TIME: Final = 0x200000
#: how long a stranger may take to say who it is, in seconds
HANDSHAKE_S: Final = 10.0


class Clock:
    """The master's time, as this process knows it."""

    def __init__(self) -> None:
        self._ahead: float | None = None

    def now(self) -> float:
        """Return the time in epoch seconds: the master's once it is known, this device's until then."""
        return time.time() if self._ahead is None else time.monotonic() + self._ahead

    def set(self, epoch: float) -> None:
        """Take the master's time, told over a connection that is trusted."""
        self._ahead = epoch - time.monotonic()


class Trust:
    """What one process trusts, and how it shows who it is.

    ``on_refused(peer or None, text)`` is told of everybody who is sent away.  Two clusters in one process have two.
    """

    def __init__(
        self,
        identity: Identity,
        clock: Clock | None = None,
        removed: Iterable[str] = (),
        on_refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.identity = identity
        self.clock = clock or Clock()
        self.removed = set(removed)
        self.on_refused = on_refused
        self.server = server_context()
        self.client = client_context()
        self._issuers: set[str] = set()
        self._shown: list[ssl.SSLContext] = []
        self.renew(identity)

    def renew(self, identity: Identity) -> None:
        """Show a new certificate from now on; connections that are open live on."""
        for context in (self.server, self.client, *self._shown):
            load(context, identity)
        self.identity = identity
        self.accept(identity.authorities)

    def showing(self) -> ssl.SSLContext:
        """Return a context that listens, shows who this is, and asks nobody for a certificate."""
        context = server_context()
        context.verify_mode = ssl.CERT_NONE
        load(context, self.identity)
        self._shown.append(context)
        return context

    def accept(self, authorities: Iterable[str]) -> None:
        """Accept certificates of these authorities (PEM), and no others."""
        found = list(authorities)
        for context in (self.server, self.client):
            context.load_verify_locations(cadata="\n".join(found))
        self._issuers = {subject_of(pem) for pem in found}

    def admit(self, certificate: dict[str, Any] | None, roles: Collection[str], *, dates: bool = True) -> Peer:
        """Return who shows a certificate, if it may be here in one of ``roles``.

        ``certificate`` is what ``getpeercert()`` returns.  Without ``dates`` its dates are left to the caller, who
        does not know the master's time yet.  Raises :exc:`PeerRefused` with the reason.
        """
        peer = names.peer_of(certificate)
        assert certificate is not None
        if issuer_of(certificate) not in self._issuers:
            raise PeerRefused(f"the certificate of {peer} is of an authority that was replaced")
        if dates:
            names.check_dates(certificate, self.clock.now())
        names.check_role(peer, self.identity.cluster_id, roles)
        self.check_member(peer)
        return peer

    def check_member(self, peer: Peer) -> None:
        """Raise :exc:`PeerRefused` for a member that was removed, also on a connection that it had before."""
        if peer.ident in self.removed:
            raise PeerRefused(f"{peer} was removed from this cluster")


def server_context() -> ssl.SSLContext:
    """Return a context that listens and demands a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # a session that is resumed would show no certificate
    return strict(context)


def client_context() -> ssl.SSLContext:
    """Return a context that connects and demands a certificate; names of hosts mean nothing, roles do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return strict(context)


def strict(context: ssl.SSLContext) -> ssl.SSLContext:
    """Speak TLS 1.3 only, demand a certificate, and leave dates to :func:`octapi.trust.names.check_dates`."""
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= NO_CHECK_TIME
    return context


def load(context: ssl.SSLContext, identity: Identity) -> None:
    """Show an identity's certificate in new handshakes."""
    with files.passing(identity.certificate + identity.key) as path:
        try:
            context.load_cert_chain(path)
        except ssl.SSLError as error:
            raise TrustError(f"The identity of {identity.name} is damaged: {error}.") from error


def subject_of(pem: str) -> str:
    """Return the name of an authority from its own certificate, as :func:`issuer_of` returns it."""
    probe = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    probe.load_verify_locations(cadata=pem)
    (certificate,) = probe.get_ca_certs()
    return str(certificate["subject"])


def issuer_of(certificate: dict[str, Any]) -> str:
    """Return the name of the authority that signed a certificate.

    It cannot be forged: authorities sign no others (path length 0), so OpenSSL has checked the key of this very name.
    """
    return str(certificate["issuer"])
