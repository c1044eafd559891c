"""What a cluster is told of its computation's life on nodes, on the dispatcher's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from octapi.client.listener import ComputationListener
from octapi.dispy.guard import guarded
from octapi.dispy.job import DispyJob
from octapi.dispy.logger import logger
from octapi.errors import JobError

if TYPE_CHECKING:
    from octapi.client.pending_job import PendingJob
    from octapi.dispy.cluster import JobCluster
    from octapi.protocol.computation import File
    from octapi.protocol.outcome import WorkerInfo


class DispyListener(ComputationListener):
    """Tells a cluster about its computation's life on nodes."""

    def __init__(self, cluster: JobCluster) -> None:
        self._cluster = cluster
        self._name = cluster.name

    @guarded
    def ready(self, worker: WorkerInfo) -> None:
        """Report Initialized."""
        self._cluster._on_ready(worker)

    @guarded
    def refused(self, worker: WorkerInfo, text: str) -> None:
        """Warn as dispy does."""
        logger.warning("Setup of %s on %s failed: %s", self._name, worker.name, text)

    @guarded
    def closed(self, worker: WorkerInfo) -> None:
        """Report Closed for a node that the script closed."""
        self._cluster._on_closed(worker)

    @guarded
    def file(self, file: File, pending_job: PendingJob | None) -> None:
        """Put a file that a job sent below the directory in which the first cluster was made."""
        try:
            file.place(self._cluster.session.cwd)
        except (OSError, JobError, ValueError) as why:
            text = f"The file {file.path!r} that it sent cannot be written here: {type(why).__name__}: {why}"
            if isinstance(pending_job, DispyJob):
                pending_job.note(text)
            else:
                logger.warning("A job of %s: %s", self._name, text)
