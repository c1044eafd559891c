"""``host:port`` as people write it."""

from __future__ import annotations

import socket

from octapi.errors import AddressError


def split(address: str, default: int | None, *, lowest: int = 1) -> tuple[str, int]:
    """Split ``host:port``; the port may be left out if there is a ``default``, and ``tcp://`` may stand in front.

    An IPv6 address stands in brackets if a port follows.  Raises :exc:`AddressError` for anything else, as for a port
    below ``lowest``.
    """
    text = address.strip().removeprefix("tcp://")
    scheme, found, _ = text.partition("://")
    if found:
        raise wrong(address, f"A master has no {scheme} address here.", default)
    if default is not None and is_ipv6(text):
        return text, default
    host, colon, port = text.rpartition(":")
    if default is not None and (not colon or (text.startswith("[") and text.endswith("]"))):
        host, port = text, str(default)
    if not (port.isascii() and port.isdigit()) or not lowest <= int(port[:9]) < 1 << 16:
        why = f"Its port is {port!r}; a port is a number from {lowest} to 65535." if port else "It has no port."
        raise wrong(address, why, default)
    return checked(host, address, default), int(port)


def checked(host: str, address: str, default: int | None) -> str:
    """Return a host without its brackets.  Raises :exc:`AddressError` for what no host can be called."""
    if host.startswith("[") and host.endswith("]") and is_ipv6(host[1:-1]):
        return host[1:-1]
    if not host:
        raise wrong(address, "It has no host.", default)
    if set(host) & set(":/[]@,;\\") or not all(letter.isprintable() and letter != " " for letter in host):
        raise wrong(address, f"{host!r} is no host's name.", default)
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise wrong(address, f"{host!r} is no host's name.", default) from error
    return host


def is_ipv6(text: str) -> bool:
    """Say whether a text is an IPv6 address, which has colons of its own."""
    try:
        socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        return False
    return True


def wrong(address: str, why: str, port: int | None) -> AddressError:
    """Return the error for an address that cannot be used."""
    port = 8786 if port is None else port
    return AddressError(
        f"{address!r} is not an address. {why} Write host:port, such as 192.168.1.10:{port}, or [::1]:{port}."
    )
