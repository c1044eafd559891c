"""A worker: one Dask worker with as many threads as slots, and the agent in its loop."""

from __future__ import annotations

import asyncio
import platform
import socket
from typing import TYPE_CHECKING, Any

import dask
import psutil

from octapi import _version
from octapi.dasknode import QuietWorker, quiet_logs, until_signalled
from octapi.dispatch import wire
from octapi.errors import VersionMismatch
from octapi.worker.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Worker

STREAM_OP = "octapi"
#: Dask's own settings for a worker on a small board: no profiler, and memory is the slots' affair
DASK_SETTINGS = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.admin.tick.limit": "30s",
    # Dask keeps this many sent messages for its debugger, and ours hold whole batches
    "distributed.admin.low-level-log-length": 4,
}
#: Dask holds messages back this long to send them together; ours are batches already, in seconds
HOLD_S = 0.0002
#: how long Dask may take to say goodbye, in seconds
CLOSE_S = 2


class Node:
    """The agent of a Dask worker, and its way to the master over Dask's connection."""

    def __init__(self, worker: Worker, slots: int, name: str) -> None:
        self.worker = worker
        self.name = name
        self.slots = slots
        self.refused: str | None = None
        host = worker.address.rsplit("://", 1)[-1].rsplit(":", 1)[0]
        self.address = host
        self.agent = Agent(slots, {"dispy_node_name": name, "dispy_node_ip_addr": host}, self.post)
        worker.stream_handlers[STREAM_OP] = self.receive
        worker.batched_stream.interval = HOLD_S

    def start(self) -> None:
        """Start the slots' zygote and tell the master what this worker offers."""
        self.agent.start()
        self.post(("hello", self.facts()))

    def post(self, message: tuple[Any, ...]) -> None:
        """Send one message to the master."""
        self.worker.batched_stream.send({"op": STREAM_OP, "body": wire.pack(message)})

    def receive(self, body: bytes) -> None:
        """Take one message from the master."""
        kind, *rest = wire.unpack(body[wire.LENGTH.size :])
        if kind == "refuse":
            self.refused = rest[0]
            asyncio.get_running_loop().create_task(self.worker.close(reason="octapi-refused"))
            return
        if kind in ("run", "cancel", "recall", "stop"):
            rest[0] = tuple(rest[0])
        self.agent.handle((kind, *rest))

    def facts(self) -> dict[str, Any]:
        """Describe this worker."""
        return {
            "protocol": wire.PROTOCOL,
            "oldest": wire.OLDEST_PROTOCOL,
            "release": _version.__version__,
            "name": self.name,
            "address": self.address,
            "host": socket.gethostname(),
            "slots": self.slots,
            "platform": platform.platform(),
            "python": platform.python_version(),
            "memory": psutil.virtual_memory().total,
            "health": health(),
        }


def health() -> dict[str, float]:
    """Measure free CPU in per cent, available memory and disk in bytes, free swap in per cent."""
    return {
        "cpu": 100.0 - psutil.cpu_percent(),
        "memory": psutil.virtual_memory().available,
        "disk": psutil.disk_usage("/").free,
        "swap": 100.0 - psutil.swap_memory().percent,
    }


async def serve(master: str, name: str, slots: int, host: str | None, on_ready: Callable[[str], None]) -> None:
    """Run a worker of the Dask scheduler at ``master`` until it is closed.

    Raises :exc:`VersionMismatch` when the master refuses this release.
    """
    quiet_logs()
    with dask.config.set(DASK_SETTINGS):
        worker = QuietWorker(master, nthreads=slots, name=name, host=host, memory_limit=0, dashboard=False, nanny=None)
        async with worker:
            node = Node(worker, slots, name)
            node.start()
            on_ready(worker.address)
            told = asyncio.create_task(until_signalled())
            ended = asyncio.create_task(worker.finished())
            try:
                await asyncio.wait((told, ended), return_when=asyncio.FIRST_COMPLETED)
            finally:
                told.cancel()
                node.agent.close()
                await worker.close(timeout=CLOSE_S, executor_wait=False, nanny=False, reason="octapi-stopped")
                await ended
            if node.refused:
                raise VersionMismatch(f"The master refused this worker: {node.refused}")
