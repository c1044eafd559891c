"""What hears of a computation's life on workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from octapi.client.pending_job import PendingJob
    from octapi.protocol.computation import File
    from octapi.protocol.outcome import WorkerInfo


class ComputationListener:
    """What wants to know about a computation's life on workers; every method may be overridden."""

    def ready(self, worker: WorkerInfo) -> None:
        """The computation is set up on ``worker``."""

    def refused(self, worker: WorkerInfo, text: str) -> None:
        """It could not be loaded or set up there; ``text`` is the traceback."""

    def closed(self, worker: WorkerInfo) -> None:
        """It was cleaned up there."""

    def file(self, file: File, pending_job: PendingJob | None) -> None:
        """A job sent a file, under a relative path."""
