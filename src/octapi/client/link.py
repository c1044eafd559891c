"""The contract of a link: the way between a dispatcher and its slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.client.dask_target import DaskTarget
    from octapi.client.endpoint import MasterEndpoint
    from octapi.protocol.news import News
    from octapi.protocol.outcome import WorkerInfo
    from octapi.protocol.specs import BatchSpec, ComputationFacts

#: kinds of links
LOCAL = "local"
REMOTE = "remote"
DASK = "dask"


class Receiver(Protocol):
    """What a link calls, on the dispatcher's thread."""

    def workers_changed(self, workers: dict[str, WorkerInfo]) -> None:
        """All workers there are now, by name."""

    def message(self, worker: str, news: News) -> None:
        """Something is new of a batch or a computation; ``worker`` says it, or the master for it."""

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

    ``recovery`` is what another process needs to find this client's jobs if it crashes.  ``endpoint`` is the master,
    and ``dask_address`` where its scheduler takes Dask's clients; None and empty on this computer alone.  ``target`` is
    the Dask cluster that was there before OctaPi, if that is where the slots are.  ``on_report`` gets what a master is
    told of the jobs: a page of one script listens there.
    """

    kind: str
    recovery: dict[str, str]
    is_connected: bool
    endpoint: MasterEndpoint | None
    dask_address: str
    target: DaskTarget | None
    on_report: Callable[[dict[str, Any]], None]

    @property
    def travel(self) -> tuple[int, int]:
        """Return how many bytes of what was sent last have left this computer, and how many there are."""

    async def start(self, receiver: Receiver) -> None:
        """Open the way."""

    def define(self, digest: str, spec: bytes, facts: ComputationFacts) -> None:
        """Make a computation known, or change its limits (worker name to most jobs at once)."""

    def run(self, ident: int, queue: int, digest: str, spec: BatchSpec) -> None:
        """Send a batch of the queue with this number."""

    def claim(self, rows: list[tuple[Any, ...]]) -> None:
        """Say to another process of the master which batches are on their way; see Batch.claim."""

    def tell(self, worker: str | None, order: Any) -> None:
        """Send one of :mod:`octapi.protocol.orders` about a batch or a computation.

        ``worker`` is as in the batch's ``begun``, None while it waits.
        """

    def report(self, summary: dict[str, Any]) -> None:
        """Tell the master how far this client is."""

    async def close(self) -> None:
        """Close the way."""
