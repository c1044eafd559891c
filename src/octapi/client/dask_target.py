"""Which Dask cluster ``Cluster(dask=...)`` means, and the dispatcher to it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from octapi.client.connect import configure
from octapi.client.dispatcher import Dispatcher
from octapi.errors import AddressError
from octapi.settings import Settings

if TYPE_CHECKING:
    from distributed import Client

WANTED = (
    "Give a distributed.Client, a cluster of Dask such as LocalCluster, or the address of a scheduler such as "
    "'tcp://192.168.1.10:8786'."
)


class DaskTarget(NamedTuple):
    """A Dask scheduler: its address, Dask's security for it, and the script's own client, if it gave one."""

    address: str
    security: Any = None
    client: Client | None = None


def connect(dask: object, address: object = None) -> Dispatcher:
    """Open a dispatcher to somebody's Dask cluster; see :class:`octapi.Cluster`.

    Raises :exc:`octapi.errors.AddressError` for what is none, :exc:`octapi.errors.MasterNotFound` when its scheduler
    does not answer, and :exc:`octapi.errors.ClusterError` when its processes cannot run OctaPi's jobs.
    """
    if address is not None:
        raise AddressError(
            f"Both dask= and the address {address!r} are given, which are two clusters. Give one of them."
        )
    target = target_of(dask)
    settings = Settings.load()
    from octapi.client.dask_link import DaskLink

    found = Dispatcher(lambda: DaskLink(target, settings))
    configure(found, settings)
    return found


def target_of(dask: object) -> DaskTarget:
    """Return which scheduler is meant.  Raises :exc:`AddressError`."""
    if isinstance(dask, str):
        return DaskTarget(address_of(dask))
    if is_client(dask):
        return of_client(dask)
    address = getattr(dask, "scheduler_address", None)
    if not isinstance(address, str):
        raise AddressError(f"dask= is {type(dask).__name__} ({dask!r:.80}), which is no Dask cluster. {WANTED}")
    if "://" not in address:
        raise AddressError(f"The Dask cluster {dask!r:.80} has no scheduler: it was closed, or has not started yet.")
    check_loop(dask)
    return DaskTarget(address, getattr(dask, "security", None))


def address_of(text: str) -> str:
    """Return the address of a scheduler, with its scheme.  Raises :exc:`AddressError`."""
    found = text.strip()
    if not found.rpartition("://")[2].strip("/"):
        raise AddressError(f"dask= is {text!r}, which is no address. {WANTED}")
    return found if "://" in found else f"tcp://{found}"


def is_client(dask: object) -> bool:
    """Say whether this is a client of Dask; there is none before somebody has imported Dask."""
    module = sys.modules.get("distributed")
    return module is not None and isinstance(dask, module.Client)


def of_client(client: Any) -> DaskTarget:
    """Return a client's scheduler.  Raises :exc:`AddressError` for a client that is closed, or not there yet."""
    if client.status != "running" or client.scheduler is None:
        raise AddressError(
            f"The Dask client given as dask= is {client.status}. Give one that is connected: await an asynchronous one "
            "first, and close it after the cluster."
        )
    if client.cluster is not None:
        check_loop(client.cluster)
    return DaskTarget(client.scheduler.address, client.security, client)


def check_loop(cluster: Any) -> None:
    """Raise :exc:`AddressError` for a cluster that lives in the loop of this very thread, which would stand still."""
    if getattr(cluster, "asynchronous", False) is True:
        raise AddressError(
            "The Dask cluster given as dask= runs in this thread's event loop, where nothing may wait for it. Make the "
            "octapi.Cluster in another thread: await asyncio.to_thread(octapi.Cluster, dask=cluster.scheduler_address)."
        )
