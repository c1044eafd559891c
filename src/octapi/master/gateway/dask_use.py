"""Whether anybody uses Dask here, for its tasks have processes on the workers only meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from octapi.engine.dask_nodes import NESTED
from octapi.protocol import orders

if TYPE_CHECKING:
    from octapi.engine.dask_nodes import QuietScheduler
    from octapi.master.gateway.placement import WorkerRecord
    from octapi.master.gateway.workers import Workers

#: a name among Dask's metadata: the workers that are to take tasks, for clients that wait for them
METADATA: Final = "octapi-workers"


class DaskUse:
    """Tells the workers when somebody begins to use Dask, and when nobody has for ``idle_s`` seconds."""

    def __init__(self, workers: Workers, scheduler: QuietScheduler, idle_s: float) -> None:
        self._workers = workers
        self._scheduler = scheduler
        self._idle_s = idle_s
        self._used_at = 0.0
        self.is_wanted = False

    @property
    def is_used(self) -> bool:
        """Say whether there are clients of Dask, or tasks and data that one has left here."""
        return bool(self._scheduler.tasks or self._scheduler.users())

    def look(self, now: float) -> None:
        """Begin or end it; ``now`` is the loop's time."""
        if self.is_used:
            self._used_at = now
            self._want(True)
        elif now - self._used_at > self._idle_s:
            self._want(False)

    def came(self, client: str, now: float) -> None:
        """A client of Dask has come; ``now`` is the loop's time."""
        if not client.startswith(NESTED):
            self._used_at = now
            self._want(True)

    def _want(self, is_wanted: bool) -> None:
        if is_wanted != self.is_wanted:
            self.is_wanted = is_wanted
            for agent in self._workers:
                self._tell(agent)

    def _tell(self, agent: WorkerRecord) -> None:
        if agent.info.get("dask_apart"):
            self._workers.send(agent, orders.Dask(self.is_wanted))

    def joined(self, agent: WorkerRecord) -> None:
        """A worker has come."""
        self.list_workers()
        if self.is_wanted:
            self._tell(agent)

    def list_workers(self) -> None:
        """Let clients know which workers are to take tasks."""
        self._scheduler.task_metadata[METADATA] = [a.name for a in self._workers if a.info.get("dask_apart")]

    def drain(self, agent: WorkerRecord) -> None:
        """Let Dask give no tasks to a worker that is to have none, or give it some again."""
        address = self._scheduler.aliases.get(agent.name)
        if address is not None:
            status = "paused" if agent.is_draining or agent.info.get("no_dask") else "running"
            self._scheduler.handle_worker_status_change(status, address, "octapi-drain")

    def backlog(self, agent: WorkerRecord) -> float:
        """Return for how long each thread of a worker will be busy with Dask's tasks, in seconds."""
        worker = self._scheduler.workers.get(self._scheduler.aliases.get(agent.name, ""))
        return 0.0 if worker is None else float(worker.occupancy / max(worker.nthreads, 1))
