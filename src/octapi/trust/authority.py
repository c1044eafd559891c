"""The cluster's authority: it signs who may be in.

A cluster on one computer has one in memory; a master keeps one on disk (:mod:`octapi.trust.authority_file`).
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from octapi.errors import IdentityProblem, NotAMember
from octapi.trust import certificates
from octapi.trust.identity import Identity
from octapi.trust.ledger import Ledger, Member
from octapi.trust.names import AUTHORITY, CLIENT, MASTER, WORKER, Peer, check_name
from octapi.trust.token import Token

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric import ec

LIFE_S = 30 * 86400.0
#: the user that the master's SSH certificate speaks for, on every worker
SSH_PRINCIPAL = "octapi"


@dataclass(slots=True)
class Root:
    """One authority key.  After a rotation the old one is ``retired``: it still proves who comes to renew."""

    ident: str
    key: str = field(repr=False)
    certificate: str = field(repr=False)
    retired: bool = False
    server: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(slots=True)
class State:
    """All that the authority must remember; the first root signs.  ``floor`` is the latest time it has seen."""

    cluster: str
    cluster_id: str
    roots: list[Root]
    ssh_key: str = field(repr=False)
    ledger: Ledger
    life_s: float = LIFE_S
    floor: float = 0.0

    def to_json(self) -> str:
        """Write it down.  The text holds the keys."""
        plain = {name: getattr(self, name) for name in ("cluster", "cluster_id", "ssh_key", "life_s", "floor")}
        roots = [{name: getattr(root, name) for name in Root.__slots__} for root in self.roots]
        return json.dumps(plain | {"roots": roots, "ledger": self.ledger.to_plain()})

    @classmethod
    def from_json(cls, text: str) -> State:
        """Read what :meth:`to_json` wrote.  Raises :exc:`IdentityProblem` for anything else."""
        try:
            plain = json.loads(text)
            roots = [Root(**row) for row in plain.pop("roots")]
            return cls(roots=roots, ledger=Ledger.from_plain(plain.pop("ledger")), **plain)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise IdentityProblem(
                "The cluster's identity is damaged. Restore it: octapi identity restore FILE"
            ) from error


def new_state(cluster: str, now: float, life_s: float = LIFE_S) -> State:
    """Make a new cluster's identity."""
    check_name(cluster)
    root = new_root(cluster, now)
    ssh_key, _ = certificates.new_ssh_key()
    return State(cluster, secrets.token_hex(8), [root], ssh_key, Ledger(), life_s)


def new_root(cluster: str, now: float) -> Root:
    """Make a new authority key."""
    key, certificate = certificates.new_authority(cluster, now)
    return Root(certificates.authority_id(certificate), key, certificate)


class Authority:
    """Signs certificates, and keeps the ledger.

    ``save`` is called with the state before anything that follows from a change is told to anybody.
    """

    def __init__(
        self, state: State, save: Callable[[State], None] = lambda _: None, now: Callable[[], float] = time.time
    ) -> None:
        self.state = state
        self._save = save
        self._now = now

    @property
    def ledger(self) -> Ledger:
        """Return the tokens and members."""
        return self.state.ledger

    def now(self) -> float:
        """Return the cluster's time in epoch seconds: this device's clock, but never earlier than it has been."""
        self.state.floor = max(self.state.floor, self._now())
        return self.state.floor

    def save(self) -> None:
        """Keep the state."""
        self._save(self.state)

    # ---- what members trust

    def authorities(self) -> list[str]:
        """Return the certificates that members accept, the signing one first."""
        return [root.certificate for root in self.state.roots if not root.retired]

    def removed(self) -> list[str]:
        """Return the idents that members refuse."""
        return [member.ident for member in self.ledger.removed()]

    def ssh_authority(self) -> str:
        """Return the public line of the authority's SSH key."""
        return certificates.ssh_public(self.state.ssh_key)

    # ---- signing

    def sign(self, peer: Peer, public: ec.EllipticCurvePublicKey, life_s: float | None = None) -> dict[str, Any]:
        """Sign a certificate, and return what its holder is told."""
        root, now = self.state.roots[0], self.now()
        begins, ends = now - certificates.BACKDATE_S, now + (life_s or self.state.life_s)
        return {
            "cluster": self.state.cluster,
            "cluster_id": self.state.cluster_id,
            "role": peer.role,
            "name": peer.name,
            "ident": peer.ident,
            "root": root.ident,
            "certificate": certificates.issue(root.key, root.certificate, peer, public, begins, ends),
            "authorities": self.authorities(),
            "begins": begins,
            "issued": now,
            "ends": ends,
        }

    def identity(self, role: str, name: str, life_s: float | None = None, ident: str = "") -> Identity:
        """Make a whole identity here: for the master's own processes, submitted scripts, or a local cluster's."""
        key = certificates.new_key()
        peer = Peer(self.state.cluster_id, role, check_name(name), ident or secrets.token_hex(8))
        public = certificates.load_key(key).public_key()
        return Identity(key=key, **self.sign(peer, public, life_s))

    def server(self, root: Root) -> tuple[str, str]:
        """Return key and certificate under which the authority answers those who trust ``root``."""
        if root.server is None:
            key = certificates.new_key()
            peer = Peer(self.state.cluster_id, AUTHORITY, "authority", secrets.token_hex(8))
            public = certificates.load_key(key).public_key()
            begins = self.now() - certificates.BACKDATE_S
            ends = begins + certificates.AUTHORITY_LIFE_S
            found = certificates.issue(root.key, root.certificate, peer, public, begins, ends)
            root.server = {"key": key, "certificate": found}
            self.save()
        return root.server["key"], root.server["certificate"]

    def for_browsers(self, names: list[str], ends: float) -> str:
        """Return a certificate with its key for a web server under these names and addresses."""
        root = self.state.roots[0]
        begins = self.now() - certificates.BACKDATE_S
        return certificates.for_browsers(root.key, root.certificate, names, begins, ends)

    # ---- letting in

    def new_token(
        self, role: str, addresses: list[str], life_s: float, uses: int | None = None, pattern: str = "*"
    ) -> Token:
        """Make a token.  Raises :exc:`TrustError` for limits that make no sense."""
        ident, secret = self.ledger.new_token(role, self.now(), life_s, uses, pattern)
        self.save()
        pin = certificates.pin_of(self.state.roots[0].certificate)
        return Token(pin, ident, secret, tuple(addresses))

    def join(
        self, ident: str, secret: bytes, role: str, name: str, csr: str, nonce: bytes, proven: Peer | None, **facts: str
    ) -> dict[str, Any]:
        """Let a device in, and return what it is told.

        ``proven`` is who it already is by its certificate, if it showed one.  Raises :exc:`TrustError` with why not.
        """
        now = self.now()
        known = proven.ident if proven is not None and proven.cluster == self.state.cluster_id else None
        row = self.ledger.check_token(ident, secret, role, name, now, known)
        public = certificates.proven_key(csr, nonce)
        peer = Peer(self.state.cluster_id, role, name, self.ledger.admit(role, name, known, now))
        answer = self._enter(peer, public, facts)
        row.uses = None if row.uses is None else row.uses - 1
        row.used_by.append(name)
        self.ledger.members[peer.ident].tokens.append(row.ident)
        self.save()
        return answer

    def admit_local(
        self, uid: int, name: str, csr: str, nonce: bytes, life_s: float, *, is_owner: bool = False
    ) -> dict[str, Any]:
        """Let a login of the master's own computer in as a client, and return what it is told.

        Raises :exc:`NotAMember` for one that was removed; the owner is never locked out.
        """
        public = certificates.proven_key(csr, nonce)
        ident = self.ledger.local_ident(self.state.cluster_id, uid, is_owner=is_owner)
        holder = self.ledger.holder(CLIENT, check_name(name))
        if holder is not None and holder.ident != ident:
            name = f"{name[:50]}-{uid}"
        answer = self._enter(Peer(self.state.cluster_id, CLIENT, name, ident), public, {}, life_s)
        self.save()
        return answer

    def owner_ident(self, uid: int) -> str:
        """Return the ident under which a user of the master's computer is a client, whether it ever was or not."""
        return self.ledger.ident_of_user(self.state.cluster_id, uid)

    def renew(self, proven: Peer, csr: str, nonce: bytes, **facts: str) -> dict[str, Any]:
        """Sign a member's new key; that it is the member was proven by its old one, expired or not.

        Raises :exc:`NotAMember` for one that was removed.
        """
        member = self.ledger.standing(proven.ident)
        public = certificates.proven_key(csr, nonce)
        answer = self._enter(Peer(self.state.cluster_id, member.role, member.name, member.ident), public, facts)
        self._retire_roots()
        self.save()
        return answer

    def _enter(
        self, peer: Peer, public: ec.EllipticCurvePublicKey, facts: dict[str, str], life_s: float | None = None
    ) -> dict[str, Any]:
        answer, now = self.sign(peer, public, life_s), self.now()
        old = self.ledger.members.get(peer.ident)
        line = facts.get("ssh_key", "") if peer.role == WORKER else ""
        ssh_key = certificates.ssh_public_alone(line) if line else ""
        if ssh_key:
            answer["ssh"] = self._ssh_host(peer, ssh_key, answer["begins"], answer["ends"])
        since = old.since if old is not None else now
        issuer, address = self.state.roots[0].ident, facts.get("address", "")
        self.ledger.members[peer.ident] = Member(
            peer.ident, peer.name, peer.role, since, now, answer["ends"], issuer, address, None, ssh_key,
            [] if old is None else old.tokens,
        )  # fmt: skip
        return answer

    def _ssh_host(self, peer: Peer, public: str, begins: float, ends: float) -> dict[str, str]:
        line = certificates.ssh_certificate(
            self.state.ssh_key, public, peer.ident, [peer.name], begins, ends, host=True
        )
        return {"certificate": line, "authority": self.ssh_authority()}

    def ssh_host(self, public: str) -> dict[str, str]:
        """Sign the master's own host key, and return the certificate and the authority as lines of OpenSSH."""
        peer = Peer(self.state.cluster_id, MASTER, MASTER, MASTER)
        return self._ssh_host(peer, public, 0, self.now() + self.state.life_s)

    def ssh_user(self, public: str) -> str:
        """Sign the master's own SSH key, and return the certificate's line.

        A worker's sshd goes by the device's clock, which may be weeks behind; so it has no beginning, only an end.
        """
        ends = self.now() + self.state.life_s
        return certificates.ssh_certificate(self.state.ssh_key, public, "master", [SSH_PRINCIPAL], 0, ends, host=False)

    # ---- changing who is in

    def standing(self, proven: Peer) -> Member:
        """Return a member.  Raises :exc:`NotAMember`."""
        if proven.cluster != self.state.cluster_id:
            raise NotAMember("This identity belongs to another cluster.")
        return self.ledger.standing(proven.ident)

    def is_due(self, proven: Peer) -> bool:
        """Say whether a member should renew now, because its certificate is of an authority that goes."""
        return self.standing(proven).issuer != self.state.roots[0].ident

    def remove(self, name: str) -> list[Member]:
        """Remove whoever bears a name, for good, and revoke the tokens by which it came: it may have them still.

        Raises :exc:`TrustError` when nobody bears the name.
        """
        found = self.ledger.remove(name, self.now())
        for row in self.ledger.tokens_of(found):
            row.revoked = True
        self._retire_roots()
        self.save()
        return found

    def leave(self, proven: Peer) -> Member:
        """Let a member go that asks for it, and return it; its tokens stay good.

        Raises :exc:`NotAMember` when it is unknown or was removed.
        """
        member = self.ledger.leave(self.standing(proven).ident, self.now())
        self._retire_roots()
        self.save()
        return member

    def rotate(self, *, is_compromised: bool = False) -> Root:
        """Sign with a new key from now on; ``is_compromised`` forgets the old ones, and everybody joins anew."""
        root = new_root(self.state.cluster, self.now())
        if is_compromised:
            self.state.roots.clear()
            self.state.cluster_id = secrets.token_hex(8)
            self.state.ssh_key, _ = certificates.new_ssh_key()
            self.state.ledger = Ledger()
        self.state.roots.insert(0, root)
        self._retire_roots()
        self.save()
        return root

    def _retire_roots(self) -> None:
        """Let members stop trusting a key once no valid certificate of it is out."""
        now = self.now()
        used = {member.issuer for member in self.ledger.active() if member.ends > now}
        for root in self.state.roots[1:]:
            root.retired = root.retired or root.ident not in used


def local_cluster() -> Authority:
    """Make the authority of a cluster that lives as long as this process."""
    return Authority(new_state("local", time.time()))
