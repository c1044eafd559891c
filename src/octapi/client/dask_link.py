"""The link to a Dask cluster that OctaPi did not start: its pools are beside Dask's workers.

    DaskLink <── Dask's client ──> relay in the scheduler <──> pool beside each worker

What the relay and the pools are is in :mod:`octapi.dask_plugins`.  Batches are placed here: nobody else has jobs there.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING, Any

from distributed import Client
from distributed.comm import CommClosedError

from octapi import _version
from octapi.client.dask_pools import DaskPool, HeldBatch, choose, label_of
from octapi.client.link import DASK
from octapi.dask_plugins.pool import HEALTH, HELLO, LEAVING, install
from octapi.dask_plugins.relay import FOR_RELAY, FOR_SCRIPT, JOINED, LEFT, Relay
from octapi.errors import ClusterError, MasterLost, MasterNotFound
from octapi.protocol import news, orders, wire
from octapi.protocol.messages import plain
from octapi.protocol.outcome import OK, SILENT, WorkerInfo
from octapi.protocol.placement import is_special
from octapi.protocol.specs import ComputationFacts
from octapi.protocol.worker_messages import End
from octapi.text.reasons import in_words
from octapi.text.stderr import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.client.dask_target import DaskTarget
    from octapi.client.endpoint import MasterEndpoint
    from octapi.client.link import Receiver
    from octapi.protocol.specs import BatchSpec
    from octapi.settings import Settings

#: Dask holds messages back this long to send them together; ours are batches already, in seconds
HOLD_S = 0.0002
#: how often the connection and the pools are looked at, in seconds
BEAT_S = 0.25
#: a pool that says nothing for so long gets no more batches until it speaks, in seconds
SILENT_S = 15.0
#: the most jobs that adaptive clusters are told of
MOST_WANTED = 1_000_000


class DaskLink:
    """The way to the pools beside somebody's Dask workers."""

    def __init__(self, target: DaskTarget, settings: Settings) -> None:
        self.kind = DASK
        self.recovery: dict[str, str] = {}
        self.is_connected = False
        self.endpoint: MasterEndpoint | None = None
        self.dask_address = target.address
        self.target: DaskTarget | None = target
        self.travel = (0, 0)
        self.on_report: Callable[[dict[str, Any]], None] = lambda _: None
        self.settings = settings
        self.name = f"octapi-{uuid.uuid4().hex[:12]}"
        self.receiver: Receiver | None = None
        self.client: Client | None = None
        self.stream: Any = None
        self.pools: dict[str, DaskPool] = {}
        #: what people call the workers at these addresses, also those whose pools have not started
        self.labels: dict[str, str] = {}
        #: why workers' pools cannot start, by address
        self.failed: dict[str, str] = {}
        self.installing: dict[str, asyncio.Task[None]] = {}
        self.computations: dict[str, tuple[bytes, ComputationFacts]] = {}
        self.batches: dict[int, HeldBatch] = {}
        self.waiting: list[HeldBatch] = []
        self.beating: asyncio.Task[None] | None = None
        self.is_over = False
        self._wanted = 0

    # ---- opening

    async def start(self, receiver: Receiver) -> None:
        """Connect, and put a pool beside each worker there is."""
        self.receiver = receiver
        await self._connect()
        await self._relay()
        self.is_connected = True
        await self._begun()
        receiver.workers_changed(self._infos())
        self.beating = asyncio.get_running_loop().create_task(self._beat())

    async def _connect(self) -> None:
        """Raise :exc:`MasterNotFound` when no scheduler answers."""
        assert self.target is not None
        address, patience_s = self.target.address, max(self.settings.patience_s, 1.0)
        options = {"security": self.target.security} if self.target.security is not None else {}
        try:
            self.client = Client(
                address, asynchronous=True, set_as_default=False, name="octapi", timeout=patience_s, **options
            )
            await asyncio.wait_for(self.client, patience_s + 1)
        except Exception as error:
            raise MasterNotFound(
                f"No Dask scheduler answers at {address} ({in_words(error)}). Check the address and the firewall, and "
                "whether the cluster of Dask still runs."
            ) from error
        self.stream = self.client.scheduler_comm
        self.stream.interval = HOLD_S

    async def _relay(self) -> None:
        """Put the relay into the scheduler.  Raises :exc:`ClusterError` when that cannot run it."""
        assert self.client is not None
        self.client._stream_handlers[FOR_SCRIPT] = self._take
        try:
            await self.client.register_plugin(Relay(self.name, self.client.id), name=self.name)
        except Exception as error:
            raise ClusterError(
                f"Dask's scheduler at {self.dask_address} cannot run OctaPi's part ({type(error).__name__}: {error}). "
                f"Install octapi {_version.__version__} where the scheduler runs, as on all its workers."
            ) from error

    async def _begun(self) -> None:
        """Wait until the pools of the workers there are have started.  Raises :exc:`ClusterError` when one cannot."""
        assert self.client is not None
        here = len(await self.client.scheduler.ncores())
        deadline = asyncio.get_running_loop().time() + max(self.settings.patience_s, 1.0)

        def is_awaited() -> bool:
            is_early = asyncio.get_running_loop().time() < deadline
            return is_early and not self.failed and len(self.pools) < here

        while is_awaited():  # noqa: ASYNC110 - they come, fail or take too long
            await asyncio.sleep(0.01)
        if self.failed:
            raise self._unable()

    def _unable(self) -> ClusterError:
        names = ", ".join(sorted(self.labels[address] for address in self.failed))
        why = next(iter(self.failed.values()))
        return ClusterError(
            f"Dask's workers {names} cannot run OctaPi's jobs ({why}). Install octapi {_version.__version__} and what "
            "it needs where Dask's workers run, in the same environment."
        )

    # ---- what the relay and the pools say

    def _take(self, worker: str, event: str, body: Any) -> None:
        """Take one message; one that cannot be used is said, and the next ones are heard."""
        assert self.receiver is not None
        try:
            if event == JOINED:
                self._joined(worker, body)
            elif event == LEFT:
                self._left(worker, is_broken=body)
            else:
                self._news(worker, tuple(wire.unpack(body[wire.LENGTH.size :])))
        except Exception as error:
            self.receiver.complain(error, f"a message of Dask's worker {worker}")

    def _joined(self, address: str, name: str) -> None:
        self.labels[address] = label_of(name, address, self.labels.values())
        task = asyncio.get_running_loop().create_task(self._install(address))
        self.installing[address] = task
        task.add_done_callback(lambda _: self.installing.pop(address, None))

    async def _install(self, address: str) -> None:
        """Put a pool beside a worker; it says hello, or what its start raised is kept."""
        assert self.client is not None
        found = await self.client.run(install, self.name, self.labels[address], workers=[address], on_error="return")
        error = found.get(address)
        if isinstance(error, OSError) and not isinstance(error, ImportError):
            return  # it has gone; the relay says so
        if isinstance(error, BaseException) and address in self.labels:
            self._fail(address, f"{type(error).__name__}: {error}")

    def _fail(self, address: str, why: str) -> None:
        """A worker cannot have a pool; when none can, no job has to wait for one."""
        self.failed[address] = why
        if not self.is_connected or self.beating is None:
            return
        say(f"octapi: {self._unable()}")
        if not self.pools and self.failed.keys() >= self.labels.keys() and self.receiver is not None:
            self._end(self._unable())

    def _news(self, address: str, message: tuple[Any, ...]) -> None:
        assert self.receiver is not None
        kind, *rest = message
        if kind == HELLO:
            return self._hello(address, rest[0])
        pool = self.pools.get(address)
        if pool is None:
            return None
        pool.heard_at = asyncio.get_running_loop().time()
        if kind in (HEALTH, LEAVING):
            pool.is_leaving = pool.is_leaving or kind == LEAVING
            self._changed(pool, {"health": rest[0]} if kind == HEALTH else {"state": SILENT})
        elif kind in ("ready", "refused", "closed"):
            self._of_computation(pool, message)
        else:
            self._of_batch(pool, message)
        return None

    def _hello(self, address: str, facts: dict[str, Any]) -> None:
        if facts.pop("protocol") != wire.PROTOCOL:
            return self._fail(address, f"they have octapi {facts['release']}")
        self.pools[address] = DaskPool(address, WorkerInfo(**facts), asyncio.get_running_loop().time())
        for digest in [digest for digest, (_, facts) in self.computations.items() if facts.get("limits") is not None]:
            self._define(self.pools[address], digest)
        self._tell_workers()
        return self._place()

    def _changed(self, pool: DaskPool, facts: dict[str, Any]) -> None:
        pool.info = pool.info._replace(**facts)
        self._tell_workers()

    def _of_computation(self, pool: DaskPool, message: tuple[Any, ...]) -> None:
        assert self.receiver is not None
        if message[0] == "refused":
            pool.refused.add(message[1])
        elif message[0] == "ready":
            pool.refused.discard(message[1])
        self.receiver.message(pool.info.name, news.read(message))
        self._place()

    def _of_batch(self, pool: DaskPool, message: tuple[Any, ...]) -> None:
        assert self.receiver is not None
        kind, ident, *_ = message
        if ident not in pool.held:
            return
        if kind == "end":
            del pool.held[ident]
            self.batches.pop(ident, None)
        self.receiver.message(pool.info.name, news.read(message))
        if kind == "end":
            self._place()

    def _left(self, address: str, is_broken: bool) -> None:
        """A worker has gone; one that was told to, by Dask or whoever runs it, was not ended by the job it had."""
        assert self.receiver is not None
        self.failed.pop(address, None)
        if (task := self.installing.pop(address, None)) is not None:
            task.cancel()
        self.labels.pop(address, None)
        pool = self.pools.get(address)
        if pool is None:
            return
        if not is_broken:
            self._changed(pool, {"state": SILENT})
        del self.pools[address]
        self._tell_workers()
        for batch in list(pool.held.values()):
            self.batches.pop(batch.ident, None)
            self.receiver.message(pool.info.name, news.Lost(batch.ident, batch.spec["jobs"]))
        self._place()

    def _infos(self) -> dict[str, WorkerInfo]:
        return {pool.info.name: pool.info for pool in self.pools.values()}

    def _tell_workers(self) -> None:
        assert self.receiver is not None
        if self.beating is not None:
            self.receiver.workers_changed(self._infos())

    # ---- the connection

    async def _beat(self) -> None:
        """Look at the connection and the pools, again and again, until the connection is over."""
        while not self.is_over:
            await asyncio.sleep(BEAT_S)
            if self._is_cut():
                self._end(MasterLost(self._lost_text()))
                return
            now = asyncio.get_running_loop().time()
            for pool in list(self.pools.values()):
                state = SILENT if pool.is_leaving or now - pool.heard_at > SILENT_S else OK
                if state != pool.info.state:
                    self._changed(pool, {"state": state})
                    self._place()

    def _is_cut(self) -> bool:
        """Say whether the connection of the beginning has ended; what Dask opens in its place knows nothing of us."""
        client, stream = self.client, self.stream
        return client is None or client.status != "running" or client.scheduler_comm is not stream or stream.closed()

    def _end(self, error: ClusterError) -> None:
        assert self.receiver is not None
        if not self.is_over:
            self.is_over, self.is_connected = True, False
            self.receiver.link_lost(error)

    def _lost_text(self) -> str:
        return (
            f"Dask's scheduler at {self.dask_address} went away, and with it what its workers had of this script. "
            "Start the cluster of Dask again, and run the script again."
        )

    def _send(self, **message: Any) -> None:
        with contextlib.suppress(CommClosedError):  # the next beat sees it
            self.stream.send({"op": FOR_RELAY, "name": self.name, **message})

    def _order(self, pools: list[DaskPool], order: Any) -> None:
        if pools:
            self._send(workers=[pool.address for pool in pools], body=wire.pack(plain(order)))

    # ---- what the dispatcher says

    def define(self, digest: str, spec: bytes, facts: ComputationFacts) -> None:
        """Keep a computation; pools that have it, or that its limits name, get it now."""
        self.computations[digest] = (spec, facts)
        has_limits = facts.get("limits") is not None
        for pool in self.pools.values():
            if has_limits or digest in pool.known:
                self._define(pool, digest)
        self._place()

    def _define(self, pool: DaskPool, digest: str) -> None:
        spec, facts = self.computations[digest]
        limits = facts.get("limits")
        limit = None if limits is None else limits.get(pool.info.name, 0)
        if limit == 0 and digest not in pool.known:
            return
        pool.known.add(digest)
        own = (facts.get("workers") or {}).get(pool.info.name) or {}
        self._order([pool], orders.Define(digest, spec, {**own, "limit": limit}))

    def run(self, ident: int, queue: int, digest: str, spec: BatchSpec) -> None:
        """Send a batch to a pool, or let it wait for one."""
        batch = self.batches[ident] = HeldBatch(ident, queue, digest, spec)
        self.waiting.append(batch)
        self._place()

    def _place(self) -> None:
        """Give waiting batches to pools that have room; one that finds none stands for all that are like it."""
        tried: set[str] = set()
        for batch in list(self.waiting):
            if batch.digest in tried and not is_special(batch.spec):
                continue
            _, facts = self.computations.get(batch.digest, (b"", ComputationFacts()))
            pool = choose(self.pools.values(), batch, facts)
            if pool is not None:
                self.waiting.remove(batch)
                self._assign(batch, pool)
            elif not is_special(batch.spec):
                tried.add(batch.digest)

    def _assign(self, batch: HeldBatch, pool: DaskPool) -> None:
        if batch.digest not in pool.known:
            self._define(pool, batch.digest)
        batch.pool, pool.held[batch.ident] = pool, batch
        self._order([pool], orders.Run(batch.ident, str(batch.queue), batch.digest, batch.spec))

    def claim(self, rows: list[tuple[Any, ...]]) -> None:
        """Never needed: a connection that broke is not opened again."""

    def tell(self, worker: str | None, order: Any) -> None:
        """Send an order on to the pools that it concerns."""
        if isinstance(order, orders.Cancel | orders.Stop | orders.Recall):
            return self._tell_of_batch(order)
        if order.digest not in self.computations:
            return None  # it was forgotten meanwhile
        pools = [pool for pool in self.pools.values() if worker in (None, pool.info.name)]
        self._order(pools, order)
        if isinstance(order, orders.Forget):
            for pool in pools:
                pool.known.discard(order.digest)
                pool.refused.discard(order.digest)
            if worker is None:
                del self.computations[order.digest]
        return None

    def _tell_of_batch(self, order: orders.Cancel | orders.Stop | orders.Recall) -> None:
        assert self.receiver is not None
        batch = self.batches.get(order.key) if isinstance(order.key, int) else None
        if batch is not None and batch.pool is not None:
            self._order([batch.pool], order)
        elif batch is not None:
            self.waiting.remove(batch)
            del self.batches[batch.ident]
            self.receiver.message("", End(batch.ident, "returned", batch.spec.get("skip", 0), {}))

    def report(self, summary: dict[str, Any]) -> None:
        """Tell adaptive clusters how many slots could be used, and the page of this script, if there is one."""
        wanted = min(summary["waiting"] + summary["running"], MOST_WANTED)
        if wanted != self._wanted:
            self._wanted = wanted
            self._send(wanted=wanted)
        self.on_report(summary)

    async def close(self) -> None:
        """Leave; the relay ends the pools, and itself."""
        self.is_over, self.is_connected = True, False
        tasks = [task for task in (self.beating, *self.installing.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.client is not None:
            await self.client.close()
