"""Which reverse proxies the page believes when they say who asks."""

from __future__ import annotations

import ipaddress
from typing import Final

from octapi.errors import SettingsError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def networks(text: str) -> list[Network]:
    """Read addresses and networks, separated by commas, such as ``172.17.0.0/16``.

    Raises :exc:`SettingsError` for what is none.
    """
    found = []
    for word in filter(None, map(str.strip, text.split(","))):
        try:
            found.append(ipaddress.ip_network(word, strict=False))
        except ValueError as error:
            raise SettingsError(
                f"--page-proxy-from takes addresses and networks such as 172.17.0.1 or 172.17.0.0/16, not {word!r}."
            ) from error
    return found


def is_believed(address: str, others: list[Network]) -> bool:
    """Say whether a proxy at this address is believed: on this computer, or one of the others that were named."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in (*LOOPBACK, *others))
