"""Small helpers that dispy scripts import beside its classes."""

from __future__ import annotations

import hashlib
import socket
from typing import NamedTuple, TypeVar

N = TypeVar("N", int, float)


class AddrInfo(NamedTuple):
    """One address of this computer: ``family`` is AF_INET or AF_INET6, ``ip`` its text."""

    family: int
    ip: str
    ifn: None = None
    broadcast: str = "<broadcast>"
    netmask: None = None


def host_addrinfo(
    host: str | None = None, socket_family: int | None = None, ipv4_multicast: bool = False
) -> AddrInfo | None:
    """Return the address of ``host``, or of this computer; None if it has none of that family."""
    name = host or socket.gethostname()
    try:
        found = socket.getaddrinfo(name, None, socket_family or socket.AF_UNSPEC, socket.SOCK_STREAM)
    except OSError:
        return None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return AddrInfo(int(found[0][0]), str(found[0][4][0])) if found else None


def num_min(*numbers: N | None) -> N | None:
    """Return the least of those that are numbers other than 0; None if there is none."""
    return min((number for number in numbers if number), default=None)


def num_max(*numbers: N | None) -> N | None:
    """Return the greatest of those that are numbers other than 0; None if there is none."""
    return max((number for number in numbers if number), default=None)


def auth_code(secret: str, sign: str) -> bytes:
    """Return the hexadecimal digest that dispy's peers greeted each other with; OctaPi does not use it."""
    return hashlib.sha1((secret + sign).encode(), usedforsecurity=False).hexdigest().encode()
