"""What the authority writes down: the tokens it gave and the members it let in.

Decisions only: the time is an argument, and nothing is read or written here.
"""

from __future__ import annotations

import fnmatch
import hashlib
import secrets
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from octapi.errors import NotAMember, TokenRefused, TokenUnknown, TrustError
from octapi.text.units import ago
from octapi.trust import token as tokens
from octapi.trust.names import JOINABLE, check_name, check_new_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: spent and expired tokens are kept this long, so that the message can say what became of them, in seconds
KEEP_S = 30 * 86400


@dataclass(slots=True)
class TokenRow:
    """A token as the authority keeps it; ``uses`` are those left, None without limit.  Times are epoch seconds."""

    ident: str
    hash: str
    role: str
    pattern: str
    created: float
    ends: float
    uses: int | None = None
    revoked: bool = False
    used_by: list[str] = field(default_factory=list)
    #: the master keeps it in a file for the devices beside it, and would share the next one as well
    is_shared: bool = False

    def state(self, now: float) -> str:
        """Say in one word how it stands."""
        if self.revoked:
            return "revoked"
        if self.uses == 0:
            return "used up"
        return "expired" if now >= self.ends else "valid"

    def public(self, now: float) -> dict[str, Any]:
        """Return what may be shown of it."""
        return {key: value for key, value in asdict(self).items() if key != "hash"} | {"state": self.state(now)}


@dataclass(slots=True)
class Member:
    """A device or login that was let in.  ``issuer`` names the authority that signed; times are epoch seconds."""

    ident: str
    name: str
    role: str
    since: float
    renewed: float
    ends: float
    issuer: str
    address: str = ""
    removed: float | None = None
    ssh_key: str = ""
    #: the tokens by which it came in
    tokens: list[str] = field(default_factory=list)
    #: it went by its own wish: ``removed`` holds for its certificate only, and its name may come back
    left: bool = False


@dataclass(slots=True)
class Ledger:
    """All tokens and members."""

    tokens: dict[str, TokenRow] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)

    # ---- tokens

    def new_token(
        self, role: str, now: float, life_s: float, uses: int | None = None, pattern: str = "*"
    ) -> tuple[str, bytes]:
        """Write a new token down, and return its public id and its secret.  Raises :exc:`TrustError` for bad limits."""
        if role not in JOINABLE:
            raise TrustError(f"A token cannot give the role {role!r}; it gives {' or '.join(JOINABLE)}.")
        if not 0 < life_s <= 10 * 365 * 86400 or (uses is not None and uses < 1):
            raise TrustError("A token's life must be between a second and ten years, and its uses at least one.")
        self._forget_old_tokens(now)
        ident, secret = tokens.new_ident(), secrets.token_bytes(tokens.SECRET_BYTES)
        while ident in self.tokens:
            ident = tokens.new_ident()
        self.tokens[ident] = TokenRow(ident, tokens.hash_of(secret), role, pattern, now, now + life_s, uses)
        return ident, secret

    def _forget_old_tokens(self, now: float) -> None:
        for ident in [ident for ident, row in self.tokens.items() if now > row.ends + KEEP_S]:
            del self.tokens[ident]

    def revoke(self, ident: str) -> None:
        """Let nobody in with this token from now on.  Raises :exc:`TrustError` for an unknown one."""
        if ident not in self.tokens:
            raise TrustError(f"There is no token {ident!r}. 'octapi token list' shows them.")
        self.tokens[ident].revoked = True

    def known_token(self, ident: str, secret: bytes) -> TokenRow:
        """Return a token, valid or not, to who has its secret.  Raises :exc:`TokenUnknown`."""
        row = self.tokens.get(ident)
        known = row.hash if row is not None else tokens.hash_of(b"")
        # a stranger learns nothing about a token from its public id alone: the secret comes first
        if not secrets.compare_digest(known, tokens.hash_of(secret)) or row is None:
            raise TokenUnknown("This cluster does not know the token. Get a new one on the master: octapi token create")
        return row

    def check_token(
        self, ident: str, secret: bytes, role: str, name: str, now: float, proven: str | None = None
    ) -> TokenRow:
        """Return the token if it lets a device in under this name and role, and ``proven`` if it is known already.

        Raises :exc:`TokenRefused`.
        """
        row = self.known_token(ident, secret)
        self.check_return(row, role, name, proven)
        state = row.state(now)
        if state != "valid":
            with_whom = ", by hand or with a device that was removed and had it" if state == "revoked" else ""
            raise TokenRefused(
                f"The token {ident} is {state}{with_whom}. Get a new one on the master: octapi token create"
            )
        if row.role != role:
            raise TokenRefused(
                f"The token {ident} is for a {row.role}, not for a {role}. "
                f"Get one on the master: octapi token create --role {role}"
            )
        if not fnmatch.fnmatchcase(name, row.pattern):
            raise TokenRefused(f"The token {ident} is for names like {row.pattern!r}, not for {name!r}.")
        return row

    def check_return(self, row: TokenRow, role: str, name: str, proven: str | None) -> None:
        """Refuse whoever was removed after the token was made.  Raises :exc:`TokenRefused`.

        A device often keeps its token, in a fleet's settings for one; removing it must be for good all the same.
        """
        for member in self.removed():
            is_same = (member.role, member.name) == (role, name) or member.ident == proven
            if is_same and not member.left and row.created <= (member.removed or 0):
                raise TokenRefused(
                    f"{member.name} was removed from this cluster after the token {row.ident} was made. "
                    "To let it in again, make a new one on the master: octapi token create"
                )

    # ---- members

    def active(self) -> Iterator[Member]:
        """Return the members that were not removed."""
        return (member for member in self.members.values() if member.removed is None)

    def holder(self, role: str, name: str) -> Member | None:
        """Return who bears a name."""
        return next((member for member in self.active() if (member.role, member.name) == (role, name)), None)

    def admit(self, role: str, name: str, proven: str | None, now: float) -> str:
        """Return the ident under which a device may bear ``name``: its own if ``proven``, else a new one.

        Raises :exc:`TokenRefused` when another device bears it, and :exc:`TrustError` for a name that cannot be one.
        """
        check_name(name)
        holder = self.holder(role, name)
        known = self.members.get(proven or "")
        own = known if known is not None and known.removed is None and known.role == role else None
        if holder is not None and holder is not own:
            raise TokenRefused(
                f"The name {name!r} is taken by another {role}, which joined {ago(now - holder.since)}. "
                f"Give this device another with --name, or remove the other on the master: octapi nodes remove {name}"
            )
        if own is None or own.name != name:  # who bears a name since an earlier release keeps it
            check_new_name(name)
        return own.ident if own is not None else secrets.token_hex(8)

    @staticmethod
    def ident_of_user(cluster_id: str, uid: int) -> str:
        """Return the ident that a user of the master's computer has unless it was removed."""
        return hashlib.sha256(f"{cluster_id} {uid}".encode()).hexdigest()[:16]

    def local_ident(self, cluster_id: str, uid: int, *, is_owner: bool) -> str:
        """Return the ident of a user of the master's computer, always the same.

        Raises :exc:`NotAMember` for a user that was removed; the owner gets a new one.
        """
        ident = self.ident_of_user(cluster_id, uid)
        member = self.members.get(ident)
        if member is None or member.removed is None:
            return ident
        if is_owner:
            return secrets.token_hex(8)
        raise NotAMember(
            f"{member.name} was removed from this cluster. Its owner can let you in with a token: "
            "octapi token create --role client"
        )

    def standing(self, ident: str) -> Member:
        """Return a member.  Raises :exc:`NotAMember` when it is unknown or was removed."""
        member = self.members.get(ident)
        if member is None:
            raise NotAMember("The master does not know this identity. Join again with a new token.")
        if member.removed is not None:
            raise NotAMember(f"{member.name} was removed from this cluster. Join again with a new token.")
        return member

    def remove(self, name: str, now: float) -> list[Member]:
        """Remove who bears a name, or left under it, and return them.  Raises :exc:`TrustError` when nobody does."""
        known = [member for member in self.members.values() if member.name == name]
        found = [member for member in known if member.removed is None or member.left]
        if not found:
            raise TrustError(f"Nobody here is called {name!r}. 'octapi nodes' shows who is in.")
        for member in found:
            member.removed, member.left = now, False
        return found

    def leave(self, ident: str, now: float) -> Member:
        """Let a member go that asks for it; its certificate is refused as long as it would be good.

        Raises :exc:`NotAMember` when it is unknown or was removed.
        """
        member = self.standing(ident)
        member.removed, member.left = now, True
        for old in [old for old in self.members.values() if old.left and old.ends < now]:
            del self.members[old.ident]
        return member

    def tokens_of(self, members: Iterable[Member]) -> list[TokenRow]:
        """Return the tokens that still let somebody in and by which one of these members came."""
        known = {ident for member in members for ident in member.tokens}
        before = {(member.role, member.name) for member in members if not member.tokens}  # of an earlier release
        rows = (row for row in self.tokens.values() if not (row.revoked or row.is_shared))
        return [row for row in rows if row.ident in known or any((row.role, name) in before for name in row.used_by)]

    def removed(self) -> list[Member]:
        """Return the members that were removed."""
        return [member for member in self.members.values() if member.removed is not None]

    # ---- as plain values

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Ledger:
        """Read what :meth:`to_plain` returned."""
        return cls(
            {ident: TokenRow(**row) for ident, row in plain["tokens"].items()},
            {ident: Member(**row) for ident, row in plain["members"].items()},
        )
