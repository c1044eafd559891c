"""The pool beside somebody's Dask worker: as many slots as it has threads, for one script.

It lives in the worker's event loop and process; slots and jobs are processes of their own.  Dask's own tasks are left
alone, and know nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import socket
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from distributed import WorkerPlugin
from distributed.comm import CommClosedError

from octapi import _version
from octapi.dask_plugins.relay import FOR_POOL, FROM_POOL, trim
from octapi.device import sensors
from octapi.namespaces.dispy import Namespace
from octapi.pool.agent import Agent
from octapi.protocol import wire
from octapi.protocol.messages import Channel, parse, plain
from octapi.protocol.worker_messages import End

if TYPE_CHECKING:
    from distributed import Worker

    from octapi.protocol.news import AgentNews

#: what a pool says of itself, beside what an agent says
HELLO: Final = "hello"
HEALTH: Final = "health"
LEAVING: Final = "leaving"


class Pool(WorkerPlugin):  # type: ignore[misc]
    """An agent in the process of a Dask worker.  ``name`` is the relay's, ``label`` what people call the worker."""

    def __init__(self, name: str, label: str) -> None:
        self.name = name
        self.label = label
        self.worker: Worker | None = None
        #: its script has ended, so nobody hears what it says
        self.is_unheard = False
        self.agent: Agent | None = None
        self.reporting: asyncio.Task[None] | None = None

    def setup(self, worker: Worker) -> None:
        """Start the fork server, and say what is here."""
        self.worker = worker
        self.agent = Agent(worker.state.nthreads, Namespace(self.label, host_of(worker)), self.post, is_shared=False)
        self.agent.start()
        worker.stream_handlers[FOR_POOL] = partial(take, worker)
        trim(worker.batched_stream)
        here = sensors.Sensors()
        self.send((HELLO, facts(worker, self.label, here)))
        self.reporting = asyncio.get_running_loop().create_task(self._report(here))

    def teardown(self, worker: Worker) -> None:
        """Say that this worker goes on purpose, and stop the slots."""
        if self.reporting is not None:
            self.reporting.cancel()
        self.send((LEAVING,))
        if self.agent is not None:
            self.agent.close()

    async def _report(self, here: sensors.Sensors) -> None:
        """Tell how this device is, again and again."""
        while True:
            await asyncio.sleep(sensors.PERIOD_S)
            self.send((HEALTH, here.read()))

    def post(self, news: AgentNews) -> None:
        """Send what the agent says to the script."""
        self.send(plain(news))

    def send(self, message: tuple[Any, ...]) -> None:
        """Send a message to the script, if the connection stands."""
        assert self.worker is not None
        assert self.agent is not None
        if self.is_unheard:
            return
        body = wire.pack(message)
        with contextlib.suppress(CommClosedError):  # the worker closes soon
            held = len(self.agent.batches)
            self.worker.batched_stream.send({"op": FROM_POOL, "name": self.name, "held": held, "body": body})

    def handle(self, body: bytes) -> None:
        """Take one order of the script; one that cannot be used ends its batch, if it has one."""
        assert self.agent is not None
        message = wire.unpack(body[wire.LENGTH.size :])
        try:
            self.agent.handle(parse(Channel.TO_WORKER, message))
        except Exception as error:
            if message[0] == "run":
                self.agent.drop(message[1])
                text = f"{type(error).__name__}: {error}"
                self.post(End(message[1], "refused", 0, {"text": text, "is_batch": True}))


def take(worker: Worker, name: str, body: bytes | None) -> None:
    """Give a message to the pool that it is for; None ends the pool."""
    pool = worker.plugins.get(name)
    if body is None and isinstance(pool, Pool):
        pool.is_unheard = True
        worker.loop.add_callback(worker.plugin_remove, name=name)
    elif body is not None and isinstance(pool, Pool):
        pool.handle(body)


async def install(name: str, label: str, dask_worker: Worker) -> None:
    """Put a pool beside a worker.  Raises what its start raises."""
    if name not in dask_worker.plugins:
        await dask_worker.plugin_add(plugin=Pool(name, label), name=name, catch_errors=False)


def facts(worker: Worker, label: str, here: sensors.Sensors) -> dict[str, Any]:
    """Describe this worker; its fields are those of :class:`octapi.protocol.outcome.WorkerInfo`, and the protocol."""
    return {
        "protocol": wire.PROTOCOL,
        "name": label,
        "address": host_of(worker),
        "host": socket.gethostname(),
        "slots": worker.state.nthreads,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "memory": sensors.memory_total(),
        "health": here.read(),
        "release": _version.__version__,
        "life": uuid.uuid4().hex[:12],
    }


def host_of(worker: Worker) -> str:
    """Return the address by which other devices know a worker's."""
    return str(worker.ip)
