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
from octapi.protocol.specs import NAME

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

HEX: Final = re.compile(r"[0-9a-f]{16}")
SCHEME: Final = "octapi://"
#: names that mean something else to people and programs, in whatever letters
RESERVED: Final = frozenset(
    "all any everything nobody none self localhost localdomain broadcasthost ip6-localhost ip6-loopback master "
    "scheduler octapi gateway".split()
)


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
    """Return ``name`` if a cluster or a member may bear it.  Raises :exc:`TrustError` otherwise."""
    if not NAME.fullmatch(name) or ".." in name:
        raise TrustError(
            f"{name[:80]!r} cannot be the name of a device. Use letters, digits, '.', '_' and '-', at most 63 of them."
        )
    return name


def check_new_name(name: str) -> str:
    """Return ``name`` if a device that joins may bear it.  Raises :exc:`TrustError` for one that means something else.

    Names are labels of the cluster: a device called as a host of the network would be taken for that host.
    """
    check_name(name)
    low = name.lower()
    if low in RESERVED or is_address(low) or low.endswith((".localhost", ".localdomain", ".octapi")):
        raise TrustError(f"{name!r} cannot be the name of a device: it means something else. Choose another: --name")
    return name


def is_address(name: str) -> bool:
    """Say whether a program might take a name for an address: four numbers, or one, in any way of writing."""
    return all(re.fullmatch(r"[0-9]+|0x[0-9a-f]*", part) for part in name.split("."))


def is_label(name: str) -> bool:
    """Say whether a name is one word, which no host of the internet has."""
    return "." not in name and name.lower() not in RESERVED and not is_address(name.lower())


def host_name(role: str) -> str:
    """Return the host name in the certificates of a role, for programs that know no roles, such as Prometheus."""
    return f"{role}.octapi"


def label(text: str) -> str:
    """Return a name that a device may bear and that is as near to ``text`` as can be."""
    found = re.sub(r"[^A-Za-z0-9._-]|\.(?=\.)", "-", text)[:63].lstrip("._-") or "client"
    try:
        return check_new_name(found)
    except TrustError:
        return f"x-{found}"[:63]


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
