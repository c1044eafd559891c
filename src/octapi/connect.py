"""Finding a cluster: the address given, the one set, the last master, or this computer's cores."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import TYPE_CHECKING

from octapi.dispatch.dispatcher import Dispatcher
from octapi.dispatch.link import LocalLink
from octapi.errors import ClusterError, MasterNotFound
from octapi.settings import Settings, default_home

if TYPE_CHECKING:
    from octapi.dispatch.link import Link

LOCAL = "local"
LAST_MASTER = "last-master"
#: how long a master that nobody asked for may take to answer, in seconds
PROBE_S = 1.0


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
        found = remote(wanted, settings, recoverable)
        remember(wanted)
        return found
    return (None if wanted else probe(settings, recoverable)) or local(slots or settings.slots or cores(), bool(wanted))


def remote(address: str, settings: Settings, recoverable: bool) -> Dispatcher:
    """Open a dispatcher to the master at ``host:port``."""
    from octapi.dispatch.remote import RemoteLink

    def make() -> Link:
        return RemoteLink(address, settings, recoverable)

    return Dispatcher(make)


def local(slots: int, is_wanted: bool) -> Dispatcher:
    """Open a dispatcher to this computer's cores, and say so unless they were asked for.

    Raises :exc:`ClusterError` on a system without ``fork``, such as Windows.
    """
    if not hasattr(os, "fork"):
        raise ClusterError(
            "No cluster was found, and this system cannot run jobs itself. Give the address of a master."
        )
    if not is_wanted:
        print(f"octapi: no cluster found; using this computer's {slots} cores.", file=sys.stderr)
    return Dispatcher(lambda: LocalLink(slots))


def probe(settings: Settings, recoverable: bool) -> Dispatcher | None:
    """Open a dispatcher to the last master, or to one on this device; None if neither answers."""
    from octapi.dispatch.remote import DEFAULT_PORT

    last = last_master()
    for address in filter(None, (last, f"127.0.0.1:{DEFAULT_PORT}")):
        try:
            found = remote(address, dataclasses.replace(settings, patience_s=0.0), recoverable)
        except MasterNotFound:
            if address == last:
                print(f"octapi: the last master, {address}, does not answer.", file=sys.stderr)
            continue
        slots = sum(worker.slots for worker in found.workers())
        print(
            f"octapi: using the cluster at {address}: {len(found.workers())} workers, {slots} slots.", file=sys.stderr
        )
        return found
    return None


def last_master() -> str:
    """Return the address of the master that was used last, or an empty text."""
    try:
        return (default_home() / LAST_MASTER).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def remember(address: str) -> None:
    """Keep a master's address for scripts that name none; one on this device is found anyway."""
    if address.startswith(("127.", "localhost", "[::1]")) or address == last_master():
        return
    home = default_home()
    part = home / f".{LAST_MASTER}.{os.getpid()}"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(address + "\n", encoding="utf-8")
        part.replace(home / LAST_MASTER)
    except OSError as error:
        print(f"octapi: the master's address could not be kept in {home}: {error}", file=sys.stderr)
