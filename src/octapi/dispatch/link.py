"""The contract of a link, the way between a dispatcher and its slots, and the link to this computer's own."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import socket
from typing import TYPE_CHECKING, Any, Protocol

from octapi import _version
from octapi.dispatch.ticket import WorkerInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.worker.agent import Agent

#: kinds of links
LOCAL = "local"
REMOTE = "remote"


class Receiver(Protocol):
    """What a link calls, on the dispatcher's thread."""

    def workers_changed(self, workers: dict[str, WorkerInfo]) -> None:
        """All workers there are now, by name."""

    def message(self, worker: str, message: tuple[Any, ...]) -> None:
        """One message of an agent (see :mod:`octapi.worker.agent`)."""

    def stop_jobs(self) -> None:
        """Somebody asked the master to stop this client's jobs."""

    def stop_job(self, ident: int) -> None:
        """Somebody asked the master to stop the job that runs of a batch."""

    def set_pace(self, seconds: float) -> None:
        """The master wants to hear of this client so often."""

    def set_others(self, others: int, placed: dict[int, str]) -> None:
        """So many other scripts have jobs at the master; these batches of this one are with workers, by number."""

    def retell(self) -> None:
        """The master may have missed news: it gets the whole story with the next report."""

    def master_renewed(self) -> None:
        """Another process of the master answers, which knows nothing of this client."""

    def link_lost(self, error: Exception) -> None:
        """The way to the slots is gone for good."""

    def complain(self, error: BaseException, where: str) -> None:
        """Say an error that concerns no single job."""


class Link(Protocol):
    """A way to slots.  All methods run on the dispatcher's thread.

    ``recovery`` is what another process needs to find this client's jobs if it crashes.
    """

    kind: str
    recovery: dict[str, str]
    is_connected: bool

    @property
    def travel(self) -> tuple[int, int]:
        """Return how many bytes of what was sent last have left this computer, and how many there are."""

    async def start(self, receiver: Receiver) -> None:
        """Open the way."""

    def define(self, digest: str, spec: bytes, facts: dict[str, Any]) -> None:
        """Make a computation known, or change its limits (worker name to most jobs at once)."""

    def run(self, ident: int, run: int, digest: str, facts: dict[str, Any]) -> None:
        """Send a batch."""

    def claim(self, rows: list[tuple[Any, ...]]) -> None:
        """Say to another process of the master which batches are on their way; see Flight.claim."""

    def tell(self, worker: str | None, message: tuple[Any, ...]) -> None:
        """Send a message about a batch (``worker`` as in its ``begun``, None while it waits) or a computation."""

    def report(self, summary: dict[str, Any]) -> None:
        """Tell the master how far this client is."""

    async def close(self) -> None:
        """Close the way."""


def own_address() -> str:
    """Return this computer's address towards the network, without sending anything."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("10.255.255.255", 1))
        address: str = probe.getsockname()[0]
        return address
    return "127.0.0.1"


class LocalLink:
    """This computer's own cores, without Dask: the agent runs in the dispatcher's loop."""

    def __init__(self, slots: int) -> None:
        self.kind = LOCAL
        self.recovery: dict[str, str] = {}
        self.is_connected = True
        self.travel = (0, 0)
        self.slots = slots
        self.agent: Agent | None = None
        self.receiver: Receiver | None = None
        self.reporting: asyncio.Task[None] | None = None
        #: gets what a master would be told; a page of this script has no other source
        self.on_report: Callable[[dict[str, Any]], None] = lambda _: None
        host = socket.gethostname()
        self.worker = WorkerInfo(
            host, "127.0.0.1", host, slots, platform.platform(), platform.python_version(), release=_version.__version__
        )

    async def start(self, receiver: Receiver) -> None:
        """Start the zygote."""
        from octapi.worker.agent import Agent

        self.receiver = receiver
        names = {"dispy_node_name": self.worker.name, "dispy_node_ip_addr": self.worker.address}
        self.agent = Agent(self.slots, names, self._post, is_shared=False)
        self.agent.start()
        receiver.workers_changed({self.worker.name: self.worker})
        self.reporting = asyncio.get_running_loop().create_task(self._report())

    async def _report(self) -> None:
        """Tell how this computer is, again and again."""
        from octapi.worker import health  # psutil is not for the first milliseconds of a script

        assert self.receiver is not None
        while True:
            await asyncio.sleep(health.PERIOD_S)
            self.worker = self.worker._replace(health=health.measure())
            self.receiver.workers_changed({self.worker.name: self.worker})

    def _post(self, message: tuple[Any, ...]) -> None:
        assert self.receiver is not None
        self.receiver.message(self.worker.name, message)

    def define(self, digest: str, spec: bytes, facts: dict[str, Any]) -> None:
        """Hand it to the agent."""
        assert self.agent is not None
        limits = facts.get("limits")
        own = (facts.get("workers") or {}).get(self.worker.name) or {}
        if limits is None or limits.get(self.worker.name, 0) > 0 or digest in self.agent.computations.known:
            limit = None if limits is None else limits.get(self.worker.name, 0)
            self.agent.on_define(digest, spec, {**own, "limit": limit})

    def run(self, ident: int, run: int, digest: str, facts: dict[str, Any]) -> None:
        """Hand it to the agent."""
        assert self.agent is not None
        self.agent.on_run(ident, run, digest, facts)

    def claim(self, rows: list[tuple[Any, ...]]) -> None:
        """Never needed: the agent lives in this process."""

    def tell(self, worker: str | None, message: tuple[Any, ...]) -> None:
        """Hand it to the agent."""
        assert self.agent is not None
        self.agent.handle(message)

    def report(self, summary: dict[str, Any]) -> None:
        """Tell the page of this script, if there is one: there is no master."""
        self.on_report(summary)

    async def close(self) -> None:
        """Stop the slots."""
        if self.reporting is not None:
            self.reporting.cancel()
        if self.agent is not None:
            self.agent.close()
