"""Who comes: tokens of links, cookies made of them, how many wrong ones, and requests that others have forged.

A token is exchanged once for a cookie, ``IDENT.ENDS.MAC``: whose link it was, until when it is good (epoch seconds) and
an HMAC of both under a key that only the supervisor and this process have.  It is void as soon as its link is revoked.
Cookies of HTTPS and of HTTP have different names, as browsers let no HTTP replace one of HTTPS, and neither is good for
the other: browsers show those of HTTP to every server on the same host.  No input or output here.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import ipaddress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from octapi.errors import TooManyAttempts
from octapi.page.links import ACT, STAY_S, Link
from octapi.trust.enrolment_server import Attempts
from octapi.trust.token import hash_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COOKIE: Final = "octapi-page"
PLAIN_COOKIE: Final = "octapi-page-plain"
#: before the body of a cookie of HTTP, in what its MAC is of; no body looks so
PLAIN: Final = "plain "
#: every request that changes something carries this header, which other sites cannot set
HEADER: Final = "x-octapi"
TOKEN_LIMIT: Final = 200
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")


class Gate:
    """Lets people in.  ``now`` is the cluster's time in epoch seconds; ``log`` is told of whoever is refused."""

    def __init__(
        self, key: str, links: list[dict[str, Any]], now: Callable[[], float], log: Callable[[str], None]
    ) -> None:
        self._key = key.encode()
        self._now = now
        self._log = log
        self._attempts = Attempts()
        self.links: dict[str, Link] = {}
        self.replace(links)

    def replace(self, links: list[dict[str, Any]]) -> None:
        """Take the links that count from now on."""
        self.links = {row["ident"]: Link(**row) for row in links}

    def by_token(self, token: str, address: str) -> Link | None:
        """Return the link of a token; None for a wrong one.  Raises :exc:`TooManyAttempts` for one too many.

        A right one always lets in: strangers with wrong ones would otherwise lock everybody out, and 192 random bits
        are not guessed.
        """
        ident, _, secret = token[:TOKEN_LIMIT].partition(".")
        link = self.links.get(ident)
        known = link.hash if link is not None else hash_of(b"")
        is_right = hmac.compare_digest(known, hash_of(secret.encode("utf-8", "replace")))
        if is_right and link is not None and link.ends > self._now():
            return link
        wait_s = self._attempts.wait_s(address)
        if wait_s:
            raise TooManyAttempts(f"Too many wrong tokens. Wait {wait_s:.0f} seconds and try again.", wait_s)
        self._attempts.count(address)
        self._log(f"refused a wrong or expired token from {address}.")
        return None

    def cookie(self, link: Link, is_secure: bool = True) -> str:
        """Return the cookie for whoever came by a link, over HTTPS or HTTP."""
        body = f"{link.ident}.{int(self._now() + STAY_S)}"
        return f"{body}.{self._mac(body, is_secure)}"

    def by_cookie(self, value: str, is_secure: bool = True) -> Link | None:
        """Return the link that a cookie came from, if it is still good, and good for HTTPS or HTTP."""
        body, _, mac = value[:TOKEN_LIMIT].rpartition(".")
        ident, _, ends = body.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(body, is_secure).encode()) or not ends.isdigit():
            return None
        return self.links.get(ident) if int(ends) > self._now() else None

    def is_known(self, link: Link) -> bool:
        """Say whether a link has not been revoked since."""
        return link.ident in self.links

    def _mac(self, body: str, is_secure: bool) -> str:
        text = body if is_secure else PLAIN + body
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def cookie_name(is_secure: bool) -> str:
    """Return the name of the cookie of HTTPS, or of HTTP."""
    return COOKIE if is_secure else PLAIN_COOKIE


def is_loopback_name(host: str) -> bool:
    """Say whether a request's ``Host`` is one that only this computer understands as this computer."""
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK_NAMES
    except ValueError:  # brackets that do not match
        return False


def is_own_name(host: str, names: list[str]) -> bool:
    """Say whether a request's ``Host`` is one under which this page may be asked for.

    An address is always fine.  A name that is not ours is another site that resolves to this computer ("DNS
    rebinding"): its scripts would count as ours.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets that do not match
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in ("localhost", *names))
    return True


def is_forged(headers: Mapping[str, str], host: str) -> str:
    """Return why a request that changes something does not come from our own page; an empty text if it does."""
    if HEADER not in headers:
        return f"The header {HEADER} is missing."
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return "It comes from another site."
    origin = headers.get("origin")
    if origin is not None and not is_origin_of(origin, host):
        return "It comes from another origin."
    return ""


def is_origin_of(origin: str, host: str) -> bool:
    """Say whether a page of this origin came from this host."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def may_act(link: Link) -> bool:
    """Say whether a link lets people change things."""
    return link.kind == ACT
