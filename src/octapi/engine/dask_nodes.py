"""Dask's scheduler and worker as OctaPi runs them: quiet, and without Dask's own web server.

Dask starts a web server on every node, also without a dashboard; OctaPi leaves no port open that
it does not need, so these classes do not let it listen.

Two kinds of process use Dask's worker: an agent, for its connection to the scheduler alone, and beside it, while
somebody uses Dask, the process that runs Dask's tasks.  Dask's scheduler counts the second kind only.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Worker
from distributed.batched import BatchedSend
from distributed.comm import normalize_address
from distributed.http.routing import RoutingApplication
from distributed.scheduler import Scheduler
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from distributed.core import Server

    from octapi.engine.guard import Guard

#: Dask's own settings for workers on small boards: no profiler, and memory is the slots' affair
WORKER_SETTINGS = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.admin.tick.limit": "30s",
    # Dask keeps this many sent messages for its debugger, and ours hold whole batches
    "distributed.admin.low-level-log-length": 4,
    # clients inside tasks ask when they need to know; without tasks they may not ask
    "distributed.client.scheduler-info-interval": "1h",
}
#: how Dask names the clients that tasks make
NESTED = "Client-worker-"
#: how an agent is known among those who register as workers
AGENT = "octapi-agent"
#: how often an agent gives Dask a sign of life, in seconds; the gateway has signs of its own
AGENT_BEAT_S = 60.0


class NoWeb:
    """Makes the web server that Dask closes at its end, and does not open it."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Listen nowhere."""
        self.http_application = RoutingApplication([])
        self.http_server = HTTPServer(self.http_application)


class QuietScheduler(NoWeb, Scheduler):  # type: ignore[misc]
    """Dask's scheduler without a web server; a worker may come back before its last connection is known to be dead.

    Agents connect to it as workers do, but they are none of Dask's: they get no tasks and no data, and nothing that a
    client asks of all workers.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        #: who is who, in a cluster with certificates
        self.guard: Guard | None = None
        #: the names of the agents that are here, by address
        self.agents: dict[str, str] = {}
        #: says whether who comes with the name of an agent that is here is that agent
        self.may_replace: Callable[[str], bool] = lambda _: False
        self.on_agent_gone: Callable[[str], None] = lambda _: None
        super().__init__(*arguments, **options)

    async def add_worker(self, comm: Any, *, address: str, name: str, extra: dict[str, Any], **facts: Any) -> None:
        """Let a worker in; Dask would refuse one whose old connection still seems to stand."""
        try:
            if extra.get(AGENT):
                await self.add_agent(comm, address, name)
            else:
                await self._replace(self.aliases.get(name))
                await super().add_worker(comm, address=address, name=name, extra=extra, **facts)
        finally:
            self.free(address)

    def free(self, address: str) -> None:
        """Let others register at an address again whose worker is not here: it left, or was never let in."""
        if self.guard is not None and address not in self.workers and address not in self.agents:
            self.guard.address_owners.forget(address)

    async def add_agent(self, comm: Any, address: str, name: str) -> None:
        """Let an agent in, and listen to it until its connection ends."""
        address = normalize_address(self.coerce_address(address))
        old = next((place for place, other in self.agents.items() if other == name), None)
        if (old is not None and not self.may_replace(name)) or address in self.stream_comms.keys() - {old}:
            await comm.write({"status": "error", "message": f"name or address taken, {name}", "time": time.time()})
            return
        await self._replace(old)
        self.agents[address] = name
        self.stream_comms[address] = BatchedSend(interval="5ms", loop=self.loop)
        await comm.write(alive() | {"worker-plugins": {}})
        await self.handle_worker(comm, address)

    async def _replace(self, old: str | None) -> None:
        if old is not None:
            self.stream_comms[old].abort()
            await self.remove_worker(old, stimulus_id="octapi-again", close=False)

    async def remove_worker(self, address: str, **how: Any) -> Any:
        """Forget a worker or an agent."""
        address = normalize_address(self.coerce_address(address))
        if self.agents.pop(address, None) is None:
            return await super().remove_worker(address, **how)
        self.stream_comms.pop(address, None)
        self.on_agent_gone(address)
        return "OK"

    def heartbeat_worker(self, *, address: str, **facts: Any) -> dict[str, Any]:
        """Take a sign of life; those of agents go another way."""
        if normalize_address(self.coerce_address(address)) in self.agents:
            return alive()
        found: dict[str, Any] = super().heartbeat_worker(address=address, **facts)
        return found

    async def restart(self, *, client: str | None = None, **how: Any) -> None:
        """Forget all tasks, and start the processes that run them anew.  Raises RuntimeError while others use them."""
        others = [name for name in self.users() if name != client and self.clients[name].wants_what]
        if others:
            raise RuntimeError(
                f"Dask's processes are not restarted: {len(others)} other clients of Dask have tasks or results here, "
                "which would be lost. Cancel your own futures instead, or wait until the others have ended."
            )
        await super().restart(client=client, **how)

    def users(self) -> list[str]:
        """Return the clients that are connected, without those that tasks have made."""
        return [name for name in self.client_comms if not name.startswith(NESTED)]

    def has_tasks(self, addresses: Iterable[str]) -> bool:
        """Say whether workers at these addresses have tasks, or results of tasks."""
        found = [self.workers[address] for address in addresses if address in self.workers]
        return any(worker.processing or worker.has_what for worker in found)

    async def handle_worker(self, comm: Any, worker: str) -> None:
        """Listen to a worker until its connection ends; what replaced it stays."""
        stream = self.stream_comms[worker]
        stream.start(comm)
        try:
            await self.handle_stream(comm=comm, extra={"worker": worker})
        finally:
            if self.stream_comms.get(worker) is stream:
                stream.abort()
                await self.remove_worker(worker, stimulus_id="octapi-connection-ended")


def alive() -> dict[str, Any]:
    """Return how Dask's scheduler answers a sign of life, for one that need not come often."""
    return {"status": "OK", "time": time.time(), "heartbeat-interval": AGENT_BEAT_S}


class WatchedScheduler(QuietScheduler):
    """The same with Dask's own dashboard, on a socket that only this account can open; the page stands before it."""

    dashboard_place = ""

    def start_http_server(self, routes: Any, *_: Any, **__: Any) -> None:
        """Listen on a socket of the file system."""
        self.http_application = RoutingApplication(routes)
        self.http_server = HTTPServer(self.http_application)
        self.http_server.address, self.http_server.port = "localhost", 80  # Dask makes links of them, which nobody sees
        self.dashboard_place = str(Path(tempfile.mkdtemp(prefix="octapi-dask-")) / "dashboard.sock")
        self.http_server.add_socket(bind_unix_socket(self.dashboard_place, 0o600))

    async def close(self, *arguments: Any, **options: Any) -> None:
        """End, and leave no file behind."""
        await super().close(*arguments, **options)
        shutil.rmtree(Path(self.dashboard_place).parent, ignore_errors=True)


class QuietWorker(NoWeb, Worker):  # type: ignore[misc]
    """Dask's worker without a web server."""

    def knows_actor(self, actor: str) -> bool:
        """Say whether an actor lives in this process."""
        return actor in self.state.actors

    async def knows_shuffle(self, shuffle: str, run: int) -> bool:
        """Say whether this worker takes part in a run of a shuffle; Dask asks the scheduler when it is news here."""
        try:
            await self.extensions["shuffle"]._get_shuffle_run(shuffle, run)
        except Exception:  # whatever Dask raises for a shuffle that is unknown, closed or of another run
            return False
        return True


class AgentWorker(QuietWorker):
    """An agent's connection to Dask's scheduler: it takes no tasks.

    ``advertise`` is an address of another device that stands for this one; an empty text for this one's own.
    """

    def __init__(self, *arguments: Any, advertise: str = "", **options: Any) -> None:
        self._advertise = advertise
        super().__init__(*arguments, **options)

    async def get_startup_information(self) -> dict[str, Any]:
        """Say what this is."""
        return {AGENT: True}

    async def _register_with_scheduler(self) -> None:
        if self._advertise:
            self.contact_address = f"{self.address.partition('://')[0]}://{self._advertise}:{self.port}"
        await super()._register_with_scheduler()


def guarded(guard: Guard | None) -> dict[str, Any]:
    """Return the arguments with which Dask's parts speak TLS under roles; none for a cluster without encryption."""
    if guard is None:
        return {"protocol": "tcp"}
    from octapi.engine import dask_comm

    return {"protocol": dask_comm.SCHEME, "security": dask_comm.GuardedSecurity(guard)}


def answer_refusals(server: Server) -> None:
    """Let a Dask server tell callers why their request was refused."""
    from octapi.engine import dask_comm
    from octapi.trust import policy

    server.handlers[policy.REFUSED_OP] = dask_comm.tell_refused


def quiet_logs() -> None:
    """Let Dask's own log say only what goes wrong; OctaPi says who comes and goes."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    # a worker that is told to stop breaks off its own heartbeat, and calls that an error
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
    for handler in logging.getLogger("distributed").handlers:
        handler.addFilter(is_mishap)


def is_mishap(record: logging.LogRecord) -> bool:
    """Say whether a record of Dask's log tells of something gone wrong: a task that is broken off at the end is not."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError)
