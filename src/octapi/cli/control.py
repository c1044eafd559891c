"""The way of commands to the master on this computer."""

from __future__ import annotations

from typing import Any

from octapi.client.connect import sockets
from octapi.errors import MasterNotFound
from octapi.trust import login


def ask_desk(operation: str, **facts: Any) -> dict[str, Any]:
    """Ask the master on this computer.  Raises :exc:`MasterNotFound` when none runs, and :exc:`TrustError`."""
    places = sockets()
    if not places:
        raise MasterNotFound("No master runs on this device. Run this where 'octapi master' runs.")
    return login.ask_local(places[0], lambda _: {"op": operation, **facts})
