"""Finding a cluster: the address given, the one set, the last master, or this computer's cores."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from octapi.dispatch.dispatcher import Dispatcher
from octapi.dispatch.link import LocalLink
from octapi.settings import Settings

if TYPE_CHECKING:
    from octapi.dispatch.link import Link

LOCAL = "local"


def cores() -> int:
    """Return how many processes this computer can run at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def connect(address: str | None = None, *, slots: int | None = None, recoverable: bool = False) -> Dispatcher:
    """Open a dispatcher to the cluster at ``address``; see :class:`octapi.Cluster`.

    A ``recoverable`` client's jobs on workers go on when it crashes, and the master keeps what they return.
    Raises :exc:`octapi.errors.MasterNotFound` when an address was given and nobody answers there.
    """
    settings = Settings.load()
    wanted = address or settings.address
    if wanted and wanted != LOCAL:
        return remote(wanted, settings, recoverable)
    count = slots or settings.slots or cores()
    if not wanted:
        print(f"octapi: no cluster found; using this computer's {count} cores.", file=sys.stderr)
    return Dispatcher(lambda: LocalLink(count))


def remote(address: str, settings: Settings, recoverable: bool) -> Dispatcher:
    """Open a dispatcher to the master at ``host:port``."""
    from octapi.dispatch.remote import RemoteLink

    def make() -> Link:
        return RemoteLink(address, settings, recoverable)

    return Dispatcher(make)
