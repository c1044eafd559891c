"""The gateway: what clients talk to, beside Dask's scheduler and in the same loop.

    clients ── Listener ──> ClientRequests ──> Batches ── Workers, by Dask's own comms ──> agents
    clients <── ClientSession <── Batches <── WorkerReports <── Dask's own comms ── agents

It holds every batch until its end has been told, and tells the client when a worker is lost: at once when Dask says
so, and when it gives no sign of life.  It unpickles nothing.  This file puts the parts together; each does one thing:

    Clients, Sessions    who is there or may come back        Batches, placement   what goes to which worker
    Claims               what an earlier master held          DetachedRuns         acting for clients that are gone
    Queries              what people ask                      Observers            who keeps account of all that
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from distributed.diagnostics.plugin import SchedulerPlugin

from octapi.master.gateway.access import Access
from octapi.master.gateway.batches import Batches
from octapi.master.gateway.claims import Claims
from octapi.master.gateway.client_requests import ClientRequests
from octapi.master.gateway.clients import Clients
from octapi.master.gateway.collector import text
from octapi.master.gateway.dask_use import DaskUse
from octapi.master.gateway.detached import DetachedRuns
from octapi.master.gateway.observers import Observers
from octapi.master.gateway.outcome_spool import OutcomeSpool
from octapi.master.gateway.queries import Queries
from octapi.master.gateway.registry import RunRegistry
from octapi.master.gateway.sessions import Sessions
from octapi.master.gateway.submissions import Submissions
from octapi.master.gateway.worker_reports import WorkerReports
from octapi.master.gateway.workers import Workers
from octapi.protocol import replies
from octapi.trust.policy import STREAM_OP

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed.scheduler import Scheduler

    from octapi.engine.dask_nodes import QuietScheduler
    from octapi.engine.guard import Guard

#: how often clients and workers are looked at, in seconds
LOOK_S: Final = 1.0
#: how often outcomes and runs are looked for that are too old, in seconds
TIDY_S: Final = 3600.0


class Gateway(SchedulerPlugin):  # type: ignore[misc]
    """Clients on one side, Dask's workers on the other."""

    name = "octapi-gateway"
    idempotent = True

    def __init__(
        self, scheduler: QuietScheduler, guard: Guard | None = None, registry: RunRegistry | None = None
    ) -> None:
        self.guard = guard
        self.registry = registry or RunRegistry(None)
        self.on_workers: Callable[[list[dict[str, Any]]], None] = lambda _: None
        self.clients = Clients()
        self.workers = Workers(scheduler, self._tell_of_workers)
        self.access = Access(self.registry)
        self.observers = Observers(self.registry, self.clients, self.workers, self.access)
        self.spool = OutcomeSpool(self.registry)
        self.dask = DaskUse(self.workers, scheduler, self.registry.settings.dask_idle_s)
        self.batches = Batches(self.clients, self.workers, self.spool, self.dask.backlog)
        self.claims = Claims(self.clients, self.workers, self.batches)
        self.sessions = Sessions(
            self.clients, self.workers, self.batches, self.claims, self.spool, self.observers,
            dask_port=lambda: scheduler.port, may=self.access.may,
            on_expired=lambda client: self.detached.detach(client),
        )  # fmt: skip
        self.submissions = Submissions(self.registry, self.access, self.sessions.end_run, self.sessions.stop_run)
        self.detached = DetachedRuns(
            self.registry, self.clients, self.workers, self.sessions, self.batches, self.claims, self.spool,
            self.submissions,
        )  # fmt: skip
        self.queries = Queries(
            self.registry, self.access, self.clients, self.workers, self.sessions, self.batches, self.submissions,
            self.dask, lambda: text(self), self.observers.subscriptions.courses.of,
        )  # fmt: skip
        self.requests = ClientRequests(
            self.clients, self.workers, self.sessions, self.batches, self.claims, self.detached, self.queries,
            self.spool, self.observers,
        )  # fmt: skip
        self.reports = WorkerReports(
            scheduler, guard, self.clients, self.workers, self.batches, self.claims, self.dask, self.observers
        )
        self._plug_in(scheduler)
        self.detached.take_up()
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        self._tidied = asyncio.get_running_loop().time()

    def _plug_in(self, scheduler: QuietScheduler) -> None:
        """Let Dask's scheduler bring what workers say, and ask who may be one."""
        scheduler.stream_handlers[STREAM_OP] = self.take_report
        scheduler.may_replace, scheduler.on_agent_gone = self.reports.may_replace, self.reports.gone
        scheduler.guard = self.guard
        scheduler.add_plugin(self)

    def take_report(self, worker: str, body: Any, data: Any = None) -> None:
        """Take a message of a worker; Dask calls this by these names, and ``worker`` is the connection's address."""
        self.reports.take(worker, body, data)

    async def stop(self) -> None:
        """Hang up on all clients."""
        self._looking.cancel()
        self.observers.close()
        self.sessions.close()
        self.registry.close()

    def _look(self) -> None:
        """Look at clients and workers, again and again."""
        now = asyncio.get_running_loop().time()
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        self.sessions.look(now)
        self.detached.look(now)
        if now - self._tidied > TIDY_S:
            self._tidied = now
            self.detached.forget_old()
        self.reports.look(now)
        self.dask.look(now)

    def _tell_of_workers(self, rows: list[dict[str, Any]]) -> None:
        """Tell clients, and the process that started this one, which workers there are."""
        self.on_workers([row | {"ssh": self.workers.by_name[row["name"]].info.get("ssh")} for row in rows])
        for client in self.clients:
            client.send(replies.Workers(rows))

    # ---- what Dask says

    def add_client(self, scheduler: Scheduler, client: str) -> None:
        """Take note of a client of Dask's own."""
        self.dask.came(client, asyncio.get_running_loop().time())

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Take note that a client of Dask's own is gone: its name there is free."""
        if self.guard is not None:
            self.guard.address_owners.forget_client(client)

    def restart(self, scheduler: Scheduler) -> None:
        """Dask has forgotten all it knew of tasks."""
        self.dask.list_workers()

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Take note of a process for Dask's tasks."""
        found = self.workers.by_name.get(scheduler.workers[worker].name)
        if found is not None:
            self.dask.drain(found)

    async def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """Take note that a worker is gone."""
        self.reports.gone(worker)
