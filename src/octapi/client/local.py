"""The link to this computer's own cores, without Dask and without a master."""

from __future__ import annotations

import asyncio
import platform
import socket
from typing import TYPE_CHECKING, Any

from octapi import _version
from octapi.client.link import LOCAL
from octapi.protocol.outcome import WorkerInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.client.dask_target import DaskTarget
    from octapi.client.endpoint import MasterEndpoint
    from octapi.client.link import Receiver
    from octapi.pool.agent import Agent
    from octapi.protocol.news import AgentNews
    from octapi.protocol.specs import BatchSpec, ComputationFacts


#: how long a script has this computer for itself before its load is looked at, in seconds
QUIET_S = 1.0


class LocalLink:
    """This computer's own cores, without Dask: the agent runs in the dispatcher's loop."""

    def __init__(self, slots: int) -> None:
        self.kind = LOCAL
        self.recovery: dict[str, str] = {}
        self.is_connected = True
        self.endpoint: MasterEndpoint | None = None
        self.dask_address = ""
        self.target: DaskTarget | None = None
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
        """Start the fork server."""
        from octapi.namespaces.dispy import Namespace
        from octapi.pool.agent import Agent

        self.receiver = receiver
        namespace = Namespace(self.worker.name, self.worker.address)
        self.agent = Agent(self.slots, namespace, self._post, is_shared=False)
        self.agent.start()
        receiver.workers_changed({self.worker.name: self.worker})
        self.reporting = asyncio.get_running_loop().create_task(self._report())

    async def _report(self) -> None:
        """Tell how this computer is, again and again."""
        await asyncio.sleep(QUIET_S)
        from octapi.device import sensors  # psutil is not for the first milliseconds of a script

        assert self.receiver is not None
        here = sensors.Sensors()
        while True:
            await asyncio.sleep(sensors.PERIOD_S)
            self.worker = self.worker._replace(health=here.read())
            self.receiver.workers_changed({self.worker.name: self.worker})

    def _post(self, news: AgentNews) -> None:
        assert self.receiver is not None
        self.receiver.message(self.worker.name, news)

    def define(self, digest: str, spec: bytes, facts: ComputationFacts) -> None:
        """Hand it to the agent."""
        assert self.agent is not None
        limits = facts.get("limits")
        own = (facts.get("workers") or {}).get(self.worker.name) or {}
        if limits is None or limits.get(self.worker.name, 0) > 0 or digest in self.agent.computations.known:
            limit = None if limits is None else limits.get(self.worker.name, 0)
            self.agent.on_define(digest, spec, {**own, "limit": limit})

    def run(self, ident: int, queue: int, digest: str, spec: BatchSpec) -> None:
        """Hand it to the agent."""
        assert self.agent is not None
        self.agent.on_run(ident, queue, digest, spec)

    def claim(self, rows: list[tuple[Any, ...]]) -> None:
        """Never needed: the agent lives in this process."""

    def tell(self, worker: str | None, order: Any) -> None:
        """Hand it to the agent."""
        assert self.agent is not None
        self.agent.handle(order)

    def report(self, summary: dict[str, Any]) -> None:
        """Tell the page of this script, if there is one: there is no master."""
        self.on_report(summary)

    async def close(self) -> None:
        """Stop the slots."""
        if self.reporting is not None:
            self.reporting.cancel()
        if self.agent is not None:
            self.agent.close()
