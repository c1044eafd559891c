"""A worker's connection to its master: the agent, and beside it Dask's own tasks while somebody uses Dask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import socket
from typing import TYPE_CHECKING, Any

import dask
from distributed.comm import connect

from octapi import _version
from octapi.device import sensors
from octapi.device.signals import until_signalled
from octapi.engine import dask_frames
from octapi.engine.dask_nodes import WORKER_SETTINGS, AgentWorker, answer_refusals, guarded, quiet_logs
from octapi.errors import MessageRefused, VersionMismatch
from octapi.protocol import orders, stdio_json, wire
from octapi.protocol.messages import Channel, parse, plain
from octapi.protocol.worker_messages import End, Health, Hello
from octapi.telemetry import logs
from octapi.text.reasons import in_words
from octapi.trust.policy import STREAM_OP
from octapi.worker.addresses import Addresses
from octapi.worker.dask_tasks import DaskTasks
from octapi.worker.resumable_agent import ResumableAgent

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Worker

    from octapi.engine.guard import Guard
    from octapi.protocol.news import AgentNews
    from octapi.worker.certificate_renewer import CertificateRenewer

log = logging.getLogger("octapi.worker")

#: Dask holds messages back this long to send them together; ours are batches already, in seconds
HOLD_S = 0.0002
#: how long the scheduler may take to answer a first connection, in seconds
PROBE_S = 10
#: how often the connection is looked at, in seconds
LOOK_S = 0.5
#: how soon a master that has gone is looked for again, in seconds
AGAIN_S = 3.0
#: how long Dask may take to say goodbye, in seconds
CLOSE_S = 2


class MasterConnection:
    """One connection of a worker to its master: Dask's worker, and the station that outlives it."""

    def __init__(
        self, worker: Worker, resumable: ResumableAgent, member: CertificateRenewer | None, tasks: DaskTasks | None
    ) -> None:
        self.worker = worker
        #: Dask's own tasks; None for a worker that takes none
        self.tasks = tasks
        self.resumable = resumable
        self.ssh: dict[str, Any] = {} if member is None else member.ssh
        self.member = member
        self.refused: str | None = None
        #: the longest message that the master takes, in bytes
        self.limit = wire.FRAME_LIMIT
        self.address = worker.contact_address.rsplit("://", 1)[-1].rsplit(":", 1)[0]
        #: what is not for the agent
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            orders.Refuse: self._refused,
            orders.Trust: self._trust,
            orders.Dask: self._dask,
            orders.Settled: lambda order: resumable.settled(order.keys),
            orders.Drop: lambda order: resumable.drop(order.keys),
            orders.Kill: lambda order: resumable.kill(order.owner),
            orders.Replay: lambda order: resumable.replay(order.key, order.heard),
        }
        worker.stream_handlers[STREAM_OP] = self.receive
        worker.batched_stream.interval = HOLD_S

    def start(self) -> None:
        """Tell the master what this worker offers, and what it has."""
        self.agent = self.resumable.open(self.address)
        self.send(Hello(self.facts()))
        self.resumable.connect(self.send)
        self.resumable.announce()

    async def report(self) -> None:
        """Tell the master how this device is, again and again, until the connection closes."""
        while True:
            await asyncio.sleep(sensors.PERIOD_S)
            if self.worker.batched_stream.closed():
                return
            self.send(Health(self.resumable.sensors.read()))
            if self.tasks is not None and self.member is not None:
                self.tasks.renew(self.member.identity)

    async def until_cut(self) -> None:
        """Wait until the master's connection is closed; Dask's worker would try for long to open it again."""
        while not self.worker.batched_stream.closed():  # noqa: ASYNC110 - Dask has no event for it
            await asyncio.sleep(LOOK_S)

    async def leave(self) -> None:
        """Let Dask's worker say goodbye, for as long as that makes sense."""
        if self.tasks is not None:
            await asyncio.to_thread(self.tasks.close)
        closing = self.worker.close(timeout=CLOSE_S, executor_wait=False, nanny=False, reason="octapi-stopped")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closing, 2 * CLOSE_S)

    def send(self, message: AgentNews | Health | Hello) -> None:
        """Send one message to the master, if the connection stands."""
        stream = self.worker.batched_stream
        if stream.closed():
            return
        said = plain(message)
        operation = dask_frames.operation(said)
        size = dask_frames.size_of(operation)
        if size > self.limit:  # the master would end the connection, and hear the same again over the next one
            most = self.limit >> 20
            text = f"a message of {size / 1e6:,.0f} MB; the master takes {most:,} MB (OCTAPI_LARGEST_MB there and here)"
            asyncio.get_running_loop().call_soon(self._refuse, said[1], MessageRefused(text))
            return
        stream.send(operation)

    def receive(self, body: Any, data: Any = None) -> None:
        """Take one message from the master; one that cannot be used is said, and the next ones are heard."""
        message: Any = ()
        try:
            message = dask_frames.message_of(body, data)
            self._take(parse(Channel.TO_WORKER, message))
        except Exception as error:
            log.warning("a message of the master cannot be used:", exc_info=error)
            if isinstance(message, list) and len(message) > 1 and message[0] == "run":
                self._refuse(message[1], error)

    def _refuse(self, key: Any, error: Exception) -> None:
        """End a batch that could not be taken."""
        with contextlib.suppress(TypeError):  # it has no name that anybody could know
            ident = tuple(key)
            self.agent.drop(ident)
            text = f"{type(error).__name__}: {error}"
            self.agent.post(End(ident, "refused", 0, {"text": text, "is_batch": True}))

    def _take(self, order: Any) -> None:
        handler = self._handlers.get(type(order), self.agent.handle)
        handler(order)

    def _refused(self, order: orders.Refuse) -> None:
        self.refused = order.why
        asyncio.get_running_loop().create_task(self.worker.close(reason="octapi-refused"))

    def _trust(self, order: orders.Trust) -> None:
        self.limit = order.news.get("largest", wire.FRAME_LIMIT)
        if self.member is not None:
            self.member.news(order.news)
        if self.tasks is not None:
            self.tasks.tell(order.news)

    def _dask(self, order: orders.Dask) -> None:
        if self.tasks is not None:
            self.tasks.want(order.is_wanted)

    def facts(self) -> dict[str, Any]:
        """Describe this worker."""
        return {
            "protocol": wire.PROTOCOL,
            "oldest": wire.OLDEST_PROTOCOL,
            "release": _version.__version__,
            "name": self.resumable.name,
            "address": self.address,
            "host": socket.gethostname(),
            "slots": self.resumable.slots,
            "platform": platform.platform(),
            "python": platform.python_version(),
            "memory": sensors.memory_total(),
            "health": self.resumable.sensors.read(),
            "ssh": self.ssh,
            "no_dask": self.tasks is None,
            #: a process for Dask's tasks is started when the master asks for it
            "dask_apart": self.tasks is not None,
            **self.resumable.standing(),
            "metrics": {} if self.member is None or self.member.meter is None else self.member.meter.facts,
        }


async def serve(
    master: str,
    resumable: ResumableAgent,
    place: Addresses,
    on_ready: Callable[[str], None],
    member: CertificateRenewer | None = None,
) -> bool:
    """Run a worker of the Dask scheduler at ``master``; say whether it was told to stop, or lost its master.

    Without ``member`` nothing is encrypted.  The station is not closed: it may go on with another connection.
    Raises :exc:`VersionMismatch` when the master refuses this release, and OSError when it does not answer.
    """
    quiet_logs()
    logs.adopt("distributed")
    guard = None if member is None else member.guard
    if guard is not None:
        guard.scheduler = master
    tasks = None if member is not None and not member.takes_tasks else DaskTasks(master, resumable, place, member)
    with dask.config.set(WORKER_SETTINGS):
        await probe(f"{guarded(guard)['protocol']}://{master}", guard)
        worker = AgentWorker(
            f"{guarded(guard)['protocol']}://{master}",
            nthreads=resumable.slots,
            name=resumable.name,
            host=place.host,
            advertise=place.advertise,
            memory_limit=0,
            dashboard=False,
            nanny=None,
            **guarded(guard),
        )
        if guard is not None:
            answer_refusals(worker)
        async with worker:
            node = MasterConnection(worker, resumable, member, tasks)
            node.start()
            on_ready(worker.address)
            return await run(node)


async def probe(address: str, guard: Guard | None) -> None:
    """Raise OSError unless a scheduler answers; Dask's worker would wait for it in silence, and for ever."""
    arguments = {} if guard is None else guarded(guard)["security"].get_connection_args("worker")
    comm = await connect(address, timeout=PROBE_S, **arguments)
    await comm.close()


async def run(node: MasterConnection) -> bool:
    """Work until a signal comes or the connection ends; say whether it was a signal."""
    told = asyncio.create_task(until_signalled())
    ended = asyncio.create_task(node.worker.finished())
    cut = asyncio.create_task(node.until_cut())
    beside = [asyncio.create_task(node.report())]
    if node.member is not None:
        beside.append(asyncio.create_task(node.member.keep_fresh()))
    try:
        await asyncio.wait((told, ended, cut), return_when=asyncio.FIRST_COMPLETED)
    finally:
        was_told = told.done()
        for task in (told, cut, *beside):
            task.cancel()
        await asyncio.gather(told, cut, *beside, return_exceptions=True)
        node.resumable.connect(None)
        await node.leave()
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)
    if node.refused:
        raise VersionMismatch(f"The master refused this worker: {node.refused}")
    return was_told


async def serve_once(
    master: str,
    resumable: ResumableAgent,
    place: Addresses,
    on_ready: Callable[[str], None],
    member: CertificateRenewer | None = None,
) -> bool:
    """Run a worker as :func:`serve` does, until its first connection ends."""
    try:
        return await serve(master, resumable, place, on_ready, member)
    finally:
        resumable.close()


async def serve_again(
    master: str, resumable: ResumableAgent, place: Addresses, on_ready: Callable[[str], None]
) -> None:
    """Run a worker without encryption until a signal comes; once it has worked, it waits for a master that has gone.

    Raises what :func:`serve` raises when the master does not answer the first time.
    """
    has_worked = False

    def ready(address: str) -> None:
        nonlocal has_worked
        has_worked = True
        on_ready(address)

    try:
        while True:
            try:
                if await serve(master, resumable, place, ready):
                    return
            except (OSError, RuntimeError) as error:
                if not has_worked:
                    raise
                log.warning(f"could not work for the master at {master}: {in_words(error)}")
            log.warning("lost the master; looking for it again.")
            told = asyncio.create_task(until_signalled())
            await asyncio.wait((told,), timeout=AGAIN_S)
            if told.done():
                return
            told.cancel()
            await asyncio.gather(told, return_exceptions=True)
    finally:
        resumable.close()


def main() -> None:
    """Be a worker of a cluster on this computer, as the process on the other end of stdin says."""
    start = stdio_json.read_first()
    stdio_json.take_path(start)
    logs.set_up("octapi worker", logs.options_of(start))
    from octapi.trust.identity import Identity
    from octapi.worker.certificate_renewer import CertificateRenewer

    member = CertificateRenewer(Identity.from_json(start["identity"]), takes_tasks=start.get("takes_tasks", True))
    member.trust.clock.set(start["time"])

    def ready(address: str) -> None:
        stdio_json.tell({"kind": "ready", "address": address})

    async def work() -> None:
        resumable = ResumableAgent(start["slots"], start["name"])
        await serve_once(start["master"], resumable, Addresses(start["host"]), ready, member)

    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(work())


if __name__ == "__main__":
    main()
