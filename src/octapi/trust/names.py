"""Who a certificate speaks for: its cluster, role, name and ident, as one URI in the certificate.

    octapi://CLUSTER/ROLE/NAME/IDENT

``CLUSTER`` and ``IDENT`` are 16 hexadecimal digits.  An ident belongs to one device (or one login of a person) for
good, through all its renewals; a name can pass to another device after its owner was removed.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from octapi.errors import PeerRefused, TrustError

if TYPE_CHECKING:
    from collections.abc import Collection

WORKER: Final = "worker"
CLIENT: Final = "client"
#: the process with the scheduler and the gateway
MASTER: Final = "master"
#: the process with the authority's key, where devices join
AUTHORITY: Final = "authority"
#: roles that a token can give
JOINABLE: Final = (WORKER, CLIENT)

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
HEX: Final = re.compile(r"[0-9a-f]{16}")
SCHEME: Final = "octapi://"


class Peer(NamedTuple):
    """The other side of a connection, as its certificate says."""

    cluster: str
    role: str
    name: str
    ident: str

    def uri(self) -> str:
        """Return the URI that its certificate carries."""
        return f"{SCHEME}{self.cluster}/{self.role}/{self.name}/{self.ident}"

    def __str__(self) -> str:
        """Name it for people."""
        return f"{self.role} {self.name}"


def check_name(name: str) -> str:
    """Return ``name`` if a device may bear it.  Raises :exc:`TrustError` otherwise."""
    if not NAME.fullmatch(name) or ".." in name:
        raise TrustError(
            f"{name[:80]!r} cannot be the name of a device. Use letters, digits, '.', '_' and '-', at most 63 of them."
        )
    return name


def host_name(role: str) -> str:
    """Return the host name in the certificates of a role, for programs that know no roles, such as Prometheus."""
    return f"{role}.octapi"


def label(text: str) -> str:
    """Return a name that a device may bear and that is as near to ``text`` as can be."""
    return re.sub(r"[^A-Za-z0-9._-]|\.(?=\.)", "-", text)[:63].lstrip("._-") or "client"


def ident_of_run(cluster: str, run: str) -> str:
    """Return the ident of a submitted script's certificate; idents of devices are random, so nobody else has it."""
    return hashlib.sha256(f"{cluster} run {run}".encode()).hexdigest()[:16]


def parse(uri: str) -> Peer:
    """Read what :meth:`Peer.uri` wrote.  Raises :exc:`PeerRefused` for anything else."""
    parts = uri.removeprefix(SCHEME).split("/")
    is_ours = uri.startswith(SCHEME) and len(parts) == 4
    if not is_ours or not (HEX.fullmatch(parts[0]) and NAME.fullmatch(parts[2]) and HEX.fullmatch(parts[3])):
        raise PeerRefused("its certificate is not one of OctaPi's")
    return Peer(*parts)


def peer_of(certificate: dict[str, Any] | None) -> Peer:
    """Return who a certificate speaks for; ``certificate`` is what ``getpeercert()`` returns.

    Raises :exc:`PeerRefused` when there is none, or when it names nobody.
    """
    if not certificate:
        raise PeerRefused("it showed no certificate")
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(uris) != 1:
        raise PeerRefused("its certificate is not one of OctaPi's")
    return parse(uris[0])


def check_dates(certificate: dict[str, Any], now: float) -> None:
    """Raise :exc:`PeerRefused` unless a certificate is valid at ``now`` (epoch seconds)."""
    begins, ends = (ssl.cert_time_to_seconds(certificate[key]) for key in ("notBefore", "notAfter"))
    if now < begins:
        raise PeerRefused(f"its certificate is not valid before {certificate['notBefore']}")
    if now > ends:
        raise PeerRefused(f"its certificate expired at {certificate['notAfter']}")


def check_role(peer: Peer, cluster: str, roles: Collection[str]) -> None:
    """Raise :exc:`PeerRefused` unless a peer is of this cluster and has one of the roles."""
    if peer.cluster != cluster:
        raise PeerRefused(f"it belongs to another cluster ({peer.cluster})")
    if peer.role not in roles:
        raise PeerRefused(f"it is a {peer}, and only a {' or '.join(sorted(roles))} may be here")
