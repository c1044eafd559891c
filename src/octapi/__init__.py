"""OctaPi turns a pile of devices into one computer for Python.

The layers, from what people use down to what does the work; each knows only those below it:

    cli       the ``octapi`` command
    dispy     the dispy-compatible layer for existing scripts
    cluster   Cluster, a concurrent.futures.Executor, and its Job
    dispatch  queue, batches, wire format, and the dispatcher that moves them
    worker    the agent and the slots that execute jobs
    errors    everything that can go wrong
"""

from typing import TYPE_CHECKING

from octapi._version import __version__
from octapi.errors import (
    ClusterError,
    JobCrashed,
    JobError,
    JobTimeout,
    MasterNotFound,
    OctapiError,
    WorkerLost,
)
from octapi.job_context import job_id, send_file

__all__ = [
    "Cluster",
    "ClusterError",
    "Job",
    "JobCrashed",
    "JobError",
    "JobTimeout",
    "MasterNotFound",
    "OctapiError",
    "WorkerLost",
    "__version__",
    "job_id",
    "send_file",
]


if TYPE_CHECKING:
    from octapi.cluster import Cluster
    from octapi.job import Job
else:

    def __getattr__(name: str) -> object:
        """Import what is heavier only when it is used, so that ``import octapi`` stays quick."""
        if name == "Cluster":
            from octapi.cluster import Cluster

            return Cluster
        if name == "Job":
            from octapi.job import Job

            return Job
        raise AttributeError(f"module 'octapi' has no attribute {name!r}")
