"""The one line that lets a device in.

    octapi1.PIN.ID.SECRET.ADDRESSES.CHECK

``PIN`` is the SHA-256 of the authority's public key, so that a device knows the authority before it sends the
secret.  ``ID`` is public: it stands in logs and lists.  ``SECRET`` is 128 random bits; the authority keeps only its
hash.  ``ADDRESSES`` is where the master listens.  ``CHECK`` finds typing mistakes, nothing more.  All but ``ID`` are
base64url without padding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field
from typing import Final

from octapi.errors import TokenRefused

PREFIX: Final = "octapi1"
ID_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
ID_LENGTH: Final = 6
SECRET_BYTES: Final = 16
PIN_BYTES: Final = 32
#: a token within a line
WITHIN: Final = re.compile(rf"(?<![\w.]){PREFIX}\.[\w.-]+", re.ASCII)
#: the longest text that is looked at
LIMIT: Final = 2048


@dataclass(frozen=True, slots=True)
class Token:
    """A token's parts: ``pin`` (32 bytes), public ``ident``, ``secret`` (16 bytes) and ``host:port`` texts."""

    pin: bytes
    ident: str
    secret: bytes = field(repr=False)
    addresses: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the one line.  It holds the secret: print it on a terminal only."""
        body = ".".join(
            (PREFIX, encode(self.pin), self.ident, encode(self.secret), encode(",".join(self.addresses).encode()))
        )
        return f"{body}.{checksum(body)}"


def new_ident() -> str:
    """Return a new public id."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))


def hash_of(secret: bytes) -> str:
    """Return what the authority keeps of a secret; it is random and long, so a plain hash cannot be reversed."""
    return hashlib.sha256(secret).hexdigest()


def parse(text: str) -> Token:
    """Read a token, also within a whole line that was pasted, such as ``octapi worker TOKEN``.

    Raises :exc:`TokenRefused` with what is wrong; the message never holds the secret.
    """
    within = WITHIN.search(text)
    line = within.group() if within else text.strip()
    if not line.startswith("octapi"):
        raise TokenRefused("That is not a token of OctaPi: tokens begin with 'octapi1.'. Copy the whole line.")
    parts = line.split(".")
    if parts[0] != PREFIX:
        raise TokenRefused("This token is of another version of OctaPi. Install the release that the master has.")
    if len(line) > LIMIT or len(parts) != 6 or checksum(line.rpartition(".")[0]) != parts[5]:
        raise TokenRefused("The token is incomplete or has a typing mistake. Copy the whole line again.")
    try:
        pin, secret, addresses = decode(parts[1]), decode(parts[3]), decode(parts[4]).decode()
    except (binascii.Error, ValueError) as error:
        raise TokenRefused("The token is damaged. Copy the whole line again.") from error
    ident = parts[2]
    if len(pin) != PIN_BYTES or len(secret) != SECRET_BYTES or len(ident) != ID_LENGTH or set(ident) - set(ID_ALPHABET):
        raise TokenRefused("The token is damaged. Copy the whole line again.")
    return Token(pin, ident, secret, tuple(filter(None, addresses.split(","))))


def checksum(body: str) -> str:
    """Return the six characters that find typing mistakes."""
    return encode(zlib.crc32(body.encode()).to_bytes(4, "big"))


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read base64url without padding; exactly what :func:`encode` writes."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if encode(data) != text:
        raise ValueError("not canonical")
    return data
