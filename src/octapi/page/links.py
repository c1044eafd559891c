"""The links that let people see the page.  The supervisor makes and keeps them; only hashes of their secrets are written.

A link's token is ``IDENT.SECRET``: the ident is public and stands in lists and logs, the secret is 192 random bits.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from octapi.device import files
from octapi.errors import TrustError
from octapi.trust.token import hash_of, new_ident

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOOK: Final = "look"
ACT: Final = "act"
KINDS: Final = (LOOK, ACT)
#: how long a link lets people in, in seconds
LIFE_S: Final = 86400.0
#: how long a browser stays logged in: so long a link that has ended is known, and can be revoked with its logins
STAY_S: Final = 30 * 86400.0
LONGEST_S: Final = 3660 * 86400.0
SECRET_BYTES: Final = 24
MOST: Final = 200
FILE: Final = "links.json"


@dataclass(slots=True)
class Link:
    """One link; ``hash`` is of its secret, the times are epoch seconds."""

    ident: str
    kind: str
    hash: str = field(repr=False)
    created: float
    ends: float


class Links:
    """All links of one page.  ``path`` is where they are kept; None for the links of a page that is not kept."""

    def __init__(self, path: Path | None, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self.key = secrets.token_hex(32)
        self.links: dict[str, Link] = {}
        if path is not None and path.exists():
            plain = json.loads(files.read(path))
            self.key = plain["key"]
            self.links = {row["ident"]: Link(**row) for row in plain["links"]}

    def new(self, kind: str, life_s: float = LIFE_S) -> str:
        """Make a link and return its token.  Raises :exc:`TrustError` for a kind or a life that cannot be."""
        if kind not in KINDS or not 0 < life_s <= LONGEST_S:
            raise TrustError(f"A link is one of {' and '.join(KINDS)}, and lives from a second to ten years.")
        now, ident, secret = self._now(), new_ident(), secrets.token_urlsafe(SECRET_BYTES)
        self.links = {key: link for key, link in self.links.items() if link.ends + STAY_S > now}
        if sum(link.ends > now for link in self.links.values()) >= MOST:
            raise TrustError(f"There are {MOST} links already. 'octapi page --revoke all' ends them.")
        self.links[ident] = Link(ident, kind, hash_of(secret.encode()), now, now + life_s)
        self.save()
        return f"{ident}.{secret}"

    def revoke(self, ident: str) -> list[str]:
        """End one link, or ``all``, with all logins that came by it; return which.  Raises :exc:`TrustError`."""
        gone = [key for key in self.links if ident in ("all", key)]
        if not gone and ident != "all":
            raise TrustError(f"There is no link {ident!r}. 'octapi page --list' shows those there are.")
        for key in gone:
            del self.links[key]
        self.save()
        return gone

    def plain(self) -> list[dict[str, Any]]:
        """Return them with the hashes, for the page's process."""
        return [asdict(link) for link in self.links.values()]

    def public(self) -> list[dict[str, Any]]:
        """Return them without the hashes, for people."""
        return [{key: row[key] for key in ("ident", "kind", "created", "ends")} for row in self.plain()]

    def save(self) -> None:
        """Keep them."""
        if self._path is not None:
            files.write(self._path, json.dumps({"key": self.key, "links": self.plain()}))
