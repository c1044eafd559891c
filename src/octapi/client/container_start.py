"""A container of OctaPi's own: its master may still be starting, and then a script waits for it, aloud."""

from __future__ import annotations

import socket
import sys
import time
from typing import Final

from octapi.errors import MasterNotFound, TrustError
from octapi.settings import variable
from octapi.text.back_off import FIRST_S, BackOff

#: how long a container's master may take to start, in seconds
START_S: Final = 60.0
LOOK_S: Final = 0.1


def role() -> str:
    """Return what this container is, as its engine was told: ``master``, ``worker``, ``agent``; empty elsewhere."""
    return variable("role")


def wait_for_master(patience_s: float = START_S) -> None:
    """Wait until the master of this container takes clients; at once elsewhere.

    Raises :exc:`MasterNotFound` when it does not in time.
    """
    if role() != "master":
        return
    began = time.monotonic()
    again = BackOff()
    while not is_ready():
        now = time.monotonic()
        if now - began > patience_s:
            raise MasterNotFound(NOT_READY.format(now - began))
        if now - began > FIRST_S and again.is_due("", now):
            print("octapi: waiting for the master of this container to start ...", file=sys.stderr, flush=True)
        time.sleep(LOOK_S)


NOT_READY: Final = (
    "The master of this container is not ready after {:.0f} s. Its log says why ('docker compose logs master')."
    " OCTAPI_ADDRESS=local runs a script on this container's own cores."
)


def is_ready() -> bool:
    """Say whether a master here answers at its desk, and takes clients."""
    from octapi.trust import local_master, login

    for place in local_master.desks():
        try:
            port = login.ask_local(place, lambda _: {"op": "where"})["master"]["clients"]
            socket.create_connection((local_master.LOOPBACK, port), 1).close()
        except (MasterNotFound, TrustError, OSError, LookupError):
            continue
        return True
    return False


def where_local(slots: int) -> str:
    """Say that a script uses this computer's cores, and in a worker's container where it would find the cluster."""
    if role() == "worker":
        return (
            f"octapi: this is a worker's container, and only the master's knows the cluster ('docker compose exec "
            f"master ...'); using this container's {slots} cores."
        )
    return f"octapi: no cluster found; using this computer's {slots} cores."
