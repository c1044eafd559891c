"""Where a master on this very computer answers, whatever the network around it is called.

Asking there costs nothing: the token's pin or the identity's authorities say whether it is the right one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from octapi.errors import MasterNotFound, TrustError
from octapi.settings import default_home
from octapi.text.addresses import split
from octapi.trust.joining import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOOPBACK: Final = "127.0.0.1"
#: the desk of a master that root runs for everybody of this computer
SYSTEM_DESK: Final = Path("/run/octapi/master.sock")


def desks() -> list[Path]:
    """Return the sockets at which masters on this computer can be asked."""
    return [place for place in (default_home() / "master.sock", SYSTEM_DESK) if place.exists()]


def doors(known: Iterable[str] = (), places: Sequence[Path] | None = None) -> list[str]:
    """Return ``host:port`` on this computer where a master may be, without those ``known``.

    They are what the desks at ``places`` say, and loopback with the ports that are known or usual.
    """
    tried = list(known)
    ports = dict.fromkeys([*(split(address, DEFAULT_PORT)[1] for address in tried), DEFAULT_PORT])
    told = [address for place in (desks() if places is None else places) for address in asked(place)]
    found = dict.fromkeys([*told, *(f"{LOOPBACK}:{port}" for port in ports)])
    return [address for address in found if address not in tried]


def asked(place: Path) -> list[str]:
    """Return where the master behind a desk says its door is; nothing if it does not say."""
    from octapi.trust import login

    try:
        answer = login.ask_local(place, lambda _: {"op": "where"})
    except (MasterNotFound, TrustError):  # nobody listens, another user does, or it is of an older release
        return []
    return [str(address) for address in answer.get("addresses", ())]
