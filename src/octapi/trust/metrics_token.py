"""The secret with which a monitoring system reads metrics: a bearer token that can read and do nothing else.

The master makes and keeps it; all others know its SHA-256 only, so a worker can check who asks but cannot ask others.
It is 256 random bits, so a plain digest gives nothing away.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from octapi.device import files

if TYPE_CHECKING:
    from pathlib import Path

FILE = "metrics.token"
SCHEME = "bearer "


def token(home: Path) -> str:
    """Return the token of a master's home, made at first use.  Raises :exc:`IdentityProblem` if others may read it."""
    try:
        return files.read(home / FILE).strip()
    except FileNotFoundError:
        return renew(home)


def renew(home: Path) -> str:
    """Make another token, and return it; the old one is good for nothing from now on."""
    made = secrets.token_urlsafe(32)
    files.write(home / FILE, made + "\n")
    return made


def key_of(found: str) -> str:
    """Return what others know of a token."""
    return hashlib.sha256(found.encode()).hexdigest()


def matches(authorization: str, key: str) -> bool:
    """Say whether the header ``Authorization`` shows the token of ``key``; nothing matches an empty key."""
    if not key or authorization[: len(SCHEME)].lower() != SCHEME:
        return False
    return hmac.compare_digest(key_of(authorization[len(SCHEME) :].strip()), key)
