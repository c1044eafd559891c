"""Finding a cluster: the address given, the one set, this computer's own identity, or this computer's cores."""

from __future__ import annotations

import dataclasses
import operator
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from octapi.client import container_start
from octapi.client.dispatcher import Dispatcher
from octapi.client.endpoint import DEFAULT_PORT, MasterEndpoint
from octapi.client.local import LocalLink
from octapi.device import files
from octapi.device.limits import cores
from octapi.errors import AddressError, ClusterError, IdentityProblem, MasterNotFound, NotAMember, PeerRefused
from octapi.protocol import wire
from octapi.settings import Settings, default_home, is_there
from octapi.text.addresses import split
from octapi.text.escape import many
from octapi.text.stderr import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.trust.identity import Identity

Found = TypeVar("Found")
LOCAL = "local"
LAST_MASTER = "last-master"
#: the most slots of this computer that one script may ask for
MOST_SLOTS = 1024


def connect(address: str | None = None, *, slots: int | None = None, recoverable: bool = True) -> Dispatcher:
    """Open a dispatcher to the cluster at ``address``; see :class:`octapi.Cluster`.

    A ``recoverable`` client's jobs on workers go on when it crashes, and the master keeps what they return.
    Raises :exc:`octapi.errors.MasterNotFound` when an address was given and nobody answers there, and
    :exc:`octapi.errors.TrustError` when this computer must not use that cluster.
    """
    given, bound = address_of(address), slots_of(slots)
    settings = Settings.load()
    wanted = given or address_of(settings.address)
    if wanted and wanted != LOCAL:
        way = way_to(wanted, settings)
        found = remote(way, settings, recoverable)
        configure(found, settings)
        if way.trust is None:
            remember(wanted)
        return found
    own = None if wanted else probe(settings, recoverable)
    if own is None and not wanted and container_start.role() == "master":
        raise MasterNotFound(container_start.NOT_READY.format(0))
    return own or local(bound or slots_of(settings.slots or None) or cores(), bool(wanted))


def address_of(address: object) -> str:
    """Return an address as text; an empty one for None.  Raises :exc:`AddressError` for what cannot be one."""
    if address is None:
        return ""
    found = os.fspath(address) if isinstance(address, os.PathLike) else address
    if not isinstance(found, str):
        raise AddressError(
            f"The address is {address!r}; it must be a text such as '192.168.1.10:{DEFAULT_PORT}', or 'local'."
        )
    text = found.strip()
    return LOCAL if text.lower() == LOCAL else text


def slots_of(slots: object) -> int | None:
    """Check a number of slots.  Raises :exc:`AddressError`."""
    if slots is None:
        return None
    if isinstance(slots, bool) or not hasattr(slots, "__index__") or not 1 <= operator.index(slots) <= MOST_SLOTS:
        raise AddressError(
            f"slots is {slots!r}; it must be a whole number from 1 to {MOST_SLOTS}, or None for one for each core."
        )
    return operator.index(slots)


def configure(dispatcher: Dispatcher, settings: Settings) -> None:
    """Give a dispatcher the limits that are set."""
    dispatcher.crash_workers = settings.crash_workers
    most = min(settings.largest_mb, getattr(dispatcher.link, "largest_mb", settings.largest_mb))
    dispatcher.largest = min(most << 20, wire.LARGEST)


def remote(way: MasterEndpoint, settings: Settings, recoverable: bool) -> Dispatcher:
    """Open a dispatcher to the master at the end of ``way``."""
    from octapi.client.remote import RemoteLink

    def open_by(found: MasterEndpoint) -> Dispatcher:
        return Dispatcher(lambda: RemoteLink(found, settings, recoverable))

    try:
        return open_by(way)
    except PeerRefused:
        if way.again is None:
            raise
    return open_by(way.again())  # the authority was replaced while this computer was away


def local(slots: int, is_wanted: bool) -> Dispatcher:
    """Open a dispatcher to this computer's cores, and say so unless they were asked for.

    Raises :exc:`ClusterError` on a system without ``fork``, such as Windows.
    """
    if not hasattr(os, "fork"):
        raise ClusterError(
            "No cluster was found, and this system cannot run jobs itself. Give the address of a master."
        )
    if not is_wanted:
        say(container_start.where_local(slots))
    return Dispatcher(lambda: LocalLink(slots))


# ---- ways to a master


def way_to(address: str, settings: Settings | None = None) -> MasterEndpoint:
    """Return the way to ``address``: ``host:port``, or the path of an identity, which knows its master's addresses.

    Raises :exc:`IdentityProblem` for an identity that cannot be used.
    """
    found = settings or Settings.load()
    if address.endswith(".json"):
        return way_of(identity_in(Path(address)), address)
    place = split(address, DEFAULT_PORT)
    if found.insecure:
        return MasterEndpoint([place], None, insecure=True, source=address)
    identity = own_identity()
    if identity is None:
        return MasterEndpoint(
            [place], None, source=address
        )  # nobody there is the better message, so look before refusing
    found_way = refreshing(member_way(identity, [place], address))
    found_way.rediscover_after_loss = looking(found_way)
    return found_way


def member_way(identity: Identity, places: list[tuple[str, int]], source: str) -> MasterEndpoint:
    """Return the way to ``places`` for a member."""
    from octapi.trust.contexts import Trust

    return MasterEndpoint(places, Trust(identity), source=source)


def way_of(identity: Identity, source: str) -> MasterEndpoint:
    """Return the way to the master of an identity."""
    port = int(identity.master.get("clients", DEFAULT_PORT))
    hosts = [split(address, DEFAULT_PORT)[0] for address in identity.addresses] or ["127.0.0.1"]
    return member_way(identity, [(host, port) for host in hosts], source)


def refreshing(way: MasterEndpoint) -> MasterEndpoint:
    """Let a way of this login's own identity get a fresh one when it is not accepted."""

    def again() -> MasterEndpoint:
        from octapi.trust import login

        home = default_home()
        fresh = login.refreshed(home / login.FILE)
        return member_way(fresh, way.places, way.source)

    way.again = again
    return way


def searching(way: MasterEndpoint) -> MasterEndpoint:
    """Let a way of this login's own identity look for a master that has moved."""
    way.look = way.rediscover_after_loss = looking(way)
    return way


def looking(way: MasterEndpoint) -> Callable[[], MasterEndpoint | None]:
    """Return what looks for the master of this login's own identity."""

    def look() -> MasterEndpoint | None:
        from octapi.trust import login

        path = default_home() / login.FILE
        fresh = login.found_again(path)
        return None if fresh is None else way_of(fresh, way.source)

    return look


def identity_in(path: Path) -> Identity:
    """Read an identity that must be there.  Raises :exc:`IdentityProblem`."""
    from octapi.trust import identity

    found = identity.load(path)
    if found is None:
        raise IdentityProblem(f"There is no identity {path}.")
    return found


def own_identity() -> Identity | None:
    """Return this login's identity, renewed if it is time: from ``octapi login``, or from a master on this device."""
    home = default_home()
    if not is_there(home / "client.json") and not sockets():
        return None
    from octapi.trust import login

    return login.own(home, sockets())


def sockets() -> list[Path]:
    """Return where masters on this device can be asked for an identity."""
    from octapi.trust import local_master

    return local_master.desks()


def by_way(way: MasterEndpoint, work: Callable[[MasterEndpoint], Found]) -> Found:
    """Return what ``work`` returns; once more with a fresh identity if the master's authority was replaced meanwhile.

    Raises what ``work`` raises.
    """
    try:
        return work(way)
    except (PeerRefused, NotAMember):
        if way.again is None:
            raise
    return work(way.again())


# ---- looking for one that nobody named


def probe(settings: Settings, recoverable: bool) -> Dispatcher | None:
    """Open a dispatcher to this login's cluster, or without encryption to the last master; None if nobody answers."""
    quick = dataclasses.replace(settings, patience_s=0.0)
    for way in known_ways(settings):
        try:
            found = remote(way, quick, recoverable)
            configure(found, settings)
        except MasterNotFound:
            if way.trust is not None or way.source == last_master():
                say(f"octapi: the last master, {way.label}, does not answer.")
            continue
        slots = sum(worker.slots for worker in found.workers())
        say(f"octapi: using the cluster at {way.place}: {many(len(found.workers()), 'worker')}, {many(slots, 'slot')}.")
        return found
    return None


def known_ways(settings: Settings) -> list[MasterEndpoint]:
    """Return the ways to masters that this login knows."""
    if settings.insecure:
        last = last_master()
        places = [last] if last else []
        return [way_to(address, settings) for address in (*places, f"127.0.0.1:{DEFAULT_PORT}")]
    container_start.wait_for_master()
    identity = own_identity()
    if identity is None:
        return []
    return [searching(refreshing(way_of(identity, str(default_home() / "client.json"))))]


def any_way(address: str, settings: Settings) -> MasterEndpoint:
    """Return the way to the master given, set, or known.  Raises :exc:`MasterNotFound` when none is."""
    wanted = address or settings.address
    if wanted == LOCAL:
        raise MasterNotFound("The address is 'local', where there is no master. Give one with --address host:port.")
    if wanted:
        return way_to(wanted, settings)
    ways = known_ways(settings)
    return ways[0] if ways else way_to(f"127.0.0.1:{DEFAULT_PORT}", settings)


def last_master() -> str:
    """Return the address of the master without encryption that was used last, or an empty text."""
    try:
        return (default_home() / LAST_MASTER).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def remember(address: str) -> None:
    """Keep a master's address for scripts that name none; one on this device is found anyway."""
    if address.startswith(("127.", "localhost", "[::1]")) or address == last_master():
        return
    home = default_home()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.replace(home / LAST_MASTER, address + "\n")
    except OSError as error:
        say(f"octapi: the master's address could not be kept in {home}: {error}")
