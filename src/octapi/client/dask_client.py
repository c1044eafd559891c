"""A Dask client on the devices of a cluster, which is Dask's current client while it lives."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from octapi.text.back_off import FIRST_S, BackOff
from octapi.text.escape import shown
from octapi.text.stderr import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from distributed import Client

    from octapi.client.dispatcher import Dispatcher
    from octapi.trust.contexts import Trust

#: how long the processes of Dask's tasks may take to start before the client is used without them, in seconds
START_S: Final = 60.0
LOOK_S: Final = 0.05


class Place(NamedTuple):
    """Where Dask's scheduler is, what is needed to connect, and the names of workers that are about to come."""

    address: str
    trust: Trust | None
    names: tuple[str, ...] = ()
    security: Any = None


class Dask:
    """Opens a :class:`distributed.Client` when it is asked for one, and anew after somebody has closed it."""

    def __init__(self, engine: Dispatcher) -> None:
        self._engine = engine
        self._stack = contextlib.ExitStack()
        self._place: Place | None = None
        self._client: Client | None = None

    def client(self) -> Client:
        """Return the client; it is Dask's current one until it is closed, then the one before is again.

        The script's own one, with which it said where its Dask cluster is, is returned as it is.
        """
        given = self._given()
        if given is not None:
            return given
        if self._client is None or self._client.status in ("closing", "closed"):
            if self._place is None:
                self._place = self._find()
            self._client = open_client(self._place)
        return self._client

    def _given(self) -> Client | None:
        link = self._engine.link
        given = None if link is None or link.target is None else link.target.client
        return given if given is not None and given.status == "running" else None

    def close(self) -> None:
        """Close the client, and what was started for it."""
        if self._client is not None:
            self._client.close()
        self._stack.close()

    def _find(self) -> Place:
        """Return the address of Dask's scheduler, and what is needed to connect; on one computer alone start one."""
        link = self._engine.link
        if link is not None and link.target is not None:
            return Place(link.dask_address, None, security=link.target.security)
        if link is not None and link.dask_address:
            return Place(link.dask_address, None if link.endpoint is None else link.endpoint.trust)
        from octapi.testing import EmbeddedCluster

        # not Dask's own LocalCluster, whose processes import the script again and so need a main guard
        embedded = self._stack.enter_context(EmbeddedCluster(workers=0))
        names = tuple(f"slot-{number + 1}" for number in range(self._engine.slots))
        for name in names:
            embedded.add_tasks(name, len(names))
        return Place(embedded.dask_address, embedded.trust(), names)


def client_class() -> type[Client]:
    """Return Dask's client with what OctaPi changes; Dask is imported when somebody asks for it, not before."""
    import dask.utils
    from distributed import Client

    class ClusterClient(Client):  # type: ignore[misc]
        """Dask's client on the devices of a cluster."""

        def restart(self, *arguments: object, **options: object) -> object:
            """End the processes of Dask's tasks on all workers, and return this client once new ones are there."""
            found = super().restart(*arguments, **options)
            return self if found is None else found

        async def _restart(self, timeout: object, wait_for_workers: bool) -> None:  # noqa: ASYNC109 - Dask's signature
            limit = timeout if isinstance(timeout, (str, int, float)) else 4 * self._timeout
            await self.scheduler.restart(
                client=self.id,
                timeout=dask.utils.parse_timedelta(limit, "s"),
                wait_for_workers=wait_for_workers,
                stimulus_id=f"client-restart-{time.time()}",
            )

    return ClusterClient


def open_client(place: Place) -> Client:
    """Open a client, and wait until the workers there are have started what runs Dask's tasks."""
    security: dict[str, Any] = {} if place.security is None else {"security": place.security}
    if place.trust is not None:
        from octapi.engine.dask_comm import GuardedSecurity
        from octapi.engine.guard import Guard

        security["security"] = GuardedSecurity(Guard(place.trust, "client"))
    client = client_class()(place.address, set_as_default=True, **security)
    try:
        until_ready(client, place.names, tell_person)
    except BaseException:
        client.close()
        raise
    return client


def until_ready(client: Client, names: Iterable[str], tell: Callable[[str], None]) -> None:
    """Wait, aloud, until the workers' processes for Dask's tasks have come; go on without those that take too long."""
    began = time.monotonic()
    again = BackOff()
    while (missing := missing_workers(client, names)) and (waited_s := time.monotonic() - began) < START_S:
        if waited_s >= FIRST_S and again.is_due(", ".join(missing), waited_s):
            tell(f"waiting for Dask's processes on {', '.join(missing)} ({waited_s:.0f} s).")
        time.sleep(LOOK_S)
    if missing:
        tell(f"going on without Dask's processes on {', '.join(missing)}; their workers' logs say what is wrong there.")


def missing_workers(client: Client, names: Iterable[str]) -> list[str]:
    """Return which of these workers, or of those that the master names, do not take Dask's tasks yet."""
    wanted = names or client.get_metadata("octapi-workers", default=[])
    here = {row["name"] for row in client.scheduler_info(n_workers=-1)["workers"].values()}
    return [name for name in wanted if name not in here]


def tell_person(text: str) -> None:
    """Write one line to the person who waits; names are workers' words."""
    say(f"octapi: {shown(text, 4000)}")
