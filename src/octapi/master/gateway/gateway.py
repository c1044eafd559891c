"""The gateway: what clients talk to, beside Dask's scheduler and in the same loop.

    client ── define, run, tell ──> Gateway ── Dask's own comms ──> agents
    client <── messages of agents ── Gateway <── Dask's own comms ── agents

It holds every batch until its end has been told, and tells the client when a worker is lost: at once when Dask says
so, and when it gives no sign of life.  It unpickles nothing.
Clients and their sessions are in :mod:`octapi.master.gateway.sessions`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin

from octapi.errors import MessageRefused
from octapi.master.gateway import worker_messages
from octapi.master.gateway.collector import text
from octapi.master.gateway.dask_use import DaskUse
from octapi.master.gateway.handshake import FACTS, in_health, why_not
from octapi.master.gateway.placement import WorkerRecord, least_loaded
from octapi.master.gateway.registry import RunRegistry
from octapi.master.gateway.session import BatchRecord, ClientSession, remainder
from octapi.master.gateway.sessions import Sessions
from octapi.protocol import batch_checks, wire
from octapi.store import workers
from octapi.trust.policy import STREAM_OP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from distributed.scheduler import Scheduler

    from octapi.engine.dask_comm import Guard
    from octapi.engine.dask_nodes import QuietScheduler

log = logging.getLogger("octapi.master.gateway")

#: Dask holds messages back this long to send them together; ours are batches already, in seconds
HOLD_S = 0.0002
#: how long news of workers' health are collected before clients are told, in seconds
HEALTH_S = 1.0
#: how often clients and workers are looked at, in seconds
LOOK_S = 1.0
#: a worker that gives no sign of life for so long gets no more batches, and after the second time is lost, in seconds
SILENT_S = 8.0
LOST_S = 15.0
#: how often outcomes and runs are looked for that are too old, in seconds
TIDY_S = 3600.0
#: how long a worker that was sent away may take to go, in seconds
LEAVE_S = 5.0
#: messages that are none, after which a worker's connection is ended
MOST_REFUSALS = 20
#: the most jobs of a batch that is not known any more
MOST_JOBS = (1 << 32) - 1
#: how long the batches of clients that do not come back stay with the workers that brought them, in seconds
STRAY_S = 900.0


class Gateway(Sessions, SchedulerPlugin):  # type: ignore[misc]
    """Clients on one side, Dask's workers on the other."""

    name = "octapi-gateway"
    idempotent = True

    def __init__(self, scheduler: QuietScheduler, guard: Guard | None = None, book: RunRegistry | None = None) -> None:
        super().__init__(book or RunRegistry(None))
        self.scheduler = scheduler
        self.guard = guard
        self.roster: list[dict[str, Any]] = []
        self.on_workers: Callable[[list[dict[str, Any]]], None] = lambda _: None
        self.agents: dict[str, WorkerRecord] = {}
        #: the lives of the workers that are to take no more batches, by name
        self.draining: dict[str, str] = {}
        #: the latest news of trust, for workers that join
        self.latest: dict[str, Any] | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._removing: set[asyncio.Future[Any]] = set()
        self.loop = asyncio.get_running_loop()
        self._looking = self.loop.call_later(LOOK_S, self._look)
        self.dask = DaskUse(self, scheduler, self.book.settings.dask_idle_s)
        scheduler.stream_handlers[STREAM_OP] = self.from_agent
        scheduler.may_replace, scheduler.on_agent_gone = self.may_replace, self.gone
        scheduler.guard = guard
        scheduler.add_plugin(self)
        self.take_up()
        self._tidied = self.loop.time()

    async def stop(self) -> None:
        """Hang up on all clients."""
        self._looking.cancel()
        self.watching.close()
        self.trace_writer.close_all()
        for client in list(self.clients.values()):
            if client.expiry is not None:
                client.expiry.cancel()
            self.keep_absent(client)
            if client.writer is not None:
                client.writer.close()
        self.book.close()

    def client_metrics(self, client: ClientSession) -> None:
        """Somebody asks for the metrics; the page does, for those who have its token."""
        client.send("metrics", text(self))

    def _look(self) -> None:
        """Look at clients and workers, again and again."""
        now = self.loop.time()
        self._looking = self.loop.call_later(LOOK_S, self._look)
        self.look_at_clients(now)
        if now - self._tidied > TIDY_S:
            self._tidied = now
            self.forget_old()
        self.look_at_agents(now)
        self.dask.look(now)

    def add_client(self, scheduler: Scheduler, client: str) -> None:
        """Dask says that a client of its own has come."""
        self.dask.came(client, self.loop.time())

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Dask says that a client of its own is gone: its name there is free."""
        if self.guard is not None:
            self.guard.bearers.forget_client(client)

    def restart(self, scheduler: Scheduler) -> None:
        """Dask says that it has forgotten all it knew of tasks."""
        self.dask.list_workers()

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Dask says that a process for its tasks has come."""
        agent = self.agents.get(scheduler.workers[worker].name)
        if agent is not None:
            self.dask.drain(agent)

    def share(self, client: ClientSession, digest: str, agents: Iterable[WorkerRecord]) -> None:
        """Give a computation to workers; those that its limits leave out do not get it."""
        for agent in agents:
            self._define(client, agent, digest)

    def _define(self, client: ClientSession, agent: WorkerRecord, digest: str) -> None:
        spec, facts = client.computations[digest]
        limits = facts.get("limits")
        limit = None if limits is None else limits.get(agent.name, 0)
        if limit == 0 and digest not in agent.known:
            return
        agent.known.add(digest)
        own = (facts.get("workers") or {}).get(agent.name) or {}
        self.to_agent(agent, ("define", digest, spec, {**own, "limit": limit}))

    # ---- placing

    def place(self) -> None:
        """Give waiting batches to workers, one from each client in turn."""
        progress = True
        while progress:
            progress = False
            for client in sorted(self.clients.values(), key=self._running):
                held = self._placeable(client)
                if held is not None:
                    progress = True

    def _running(self, client: ClientSession) -> int:
        return len(client.held) - len(client.waiting)

    def _placeable(self, client: ClientSession) -> BatchRecord | None:
        if client.is_full:
            return None
        tried: set[str] = set()
        for held in client.waiting:
            is_special = any(held.facts.get(key) for key in ("worker", "alone", "avoid"))
            if held.digest in tried and not is_special:
                continue
            agent = self.choose(held)
            if agent is None:
                if not is_special:
                    tried.add(held.digest)
                continue
            client.waiting.remove(held)
            self._assign(held, agent)
            return held
        return None

    def choose(self, held: BatchRecord) -> WorkerRecord | None:
        """Let Dask decide between the least loaded workers that may take a batch."""
        found = least_loaded(self.agents.values(), held)
        return found[0] if len(found) == 1 else min(found, key=self.dask.backlog, default=None)

    def _assign(self, held: BatchRecord, agent: WorkerRecord) -> None:
        if held.digest not in agent.known:
            self._define(held.client, agent, held.digest)
        held.worker = agent.name
        agent.held[held.key] = held
        self.to_agent(agent, ("run", held.key, held.client.session, held.digest, held.facts))

    # ---- agents

    def to_agent(self, agent: WorkerRecord, message: tuple[Any, ...]) -> None:
        """Send one message over Dask's connection to the worker.

        One that has just left has no connection any more, a moment before it is told as lost with all that it holds.
        """
        if agent.address not in self.scheduler.stream_comms:
            return
        self.scheduler.worker_send(agent.address, {"op": STREAM_OP, "body": wire.pack(message)})

    def tell_agents(self, message: tuple[Any, ...]) -> None:
        """Send one message to all workers."""
        for agent in self.agents.values():
            self.to_agent(agent, message)

    def from_agent(self, worker: str, body: bytes) -> None:
        """Take one message that came over Dask's connection from a worker; one that is none is refused by name.

        After too many the connection is ended.
        """
        message: Any = ()
        agent = next((agent for agent in self.agents.values() if agent.address == worker), None)
        try:
            message = wire.unpack(body[wire.LENGTH.size :])
            if agent is None and not is_hello(message):
                return
            kind, subject, rest = worker_messages.said(message)
            if kind == "hello":
                self._agent_joined(worker, subject)
            elif agent is not None:
                self._heard(agent)
                self._take(agent, kind, subject, rest)
        except Exception as error:
            if agent is not None and isinstance(message, list) and len(message) > 1:
                self._spoil(agent, message[1], error)
            self._refuse_message(worker, agent, error)

    def _spoil(self, agent: WorkerRecord, key: Any, error: Exception) -> None:
        """End a batch whose worker says of it what makes no sense."""
        held = agent.held.get(tuple(key)) if batch_checks.is_key(key) else None
        if held is not None:
            text = f"{agent.name} said of it what cannot be used ({type(error).__name__}: {error})"
            self.to_agent(agent, ("stop", held.key, 0.0))
            self._tell_client(agent, held, "end", ["refused", 0, {"text": text, "is_batch": True}])

    def _refuse_message(self, worker: str, agent: WorkerRecord | None, error: Exception) -> None:
        """Log a message of a worker that is none, and end the connection of one that goes on so."""
        self.meter.refused += 1
        name = worker if agent is None else agent.name
        log.warning(f"refused a message of worker {name}: {type(error).__name__}: {error}")
        if agent is None:
            self._send_away(worker, f"it does not say what it is: {error}.")
            return
        agent.refusals += 1
        if agent.refusals >= MOST_REFUSALS:
            self._remove(agent.address)

    def _take(self, agent: WorkerRecord, kind: str, subject: Any, rest: list[Any]) -> None:
        """Take one message of a worker that is here."""
        if kind == "health":
            agent.info["health"] = in_health(subject, self.now())
            self.book.nodes.health(agent.name, agent.info["health"], self.now())
            self._tell_later()
        elif kind in worker_messages.COMPUTATION:
            self._computation_news(agent, kind, subject, rest)
        else:
            self._batch_news(agent, kind, subject, rest)

    def _computation_news(self, agent: WorkerRecord, kind: str, digest: str, rest: list[Any]) -> None:
        if kind == "refused":
            agent.refused.add(digest)
        elif kind == "ready" and digest in agent.refused:
            agent.refused.discard(digest)
            self.place()
        for client in self.clients.values():
            if digest in client.computations:
                client.deliver(agent.name, (kind, digest, *rest))

    def _batch_news(self, agent: WorkerRecord, kind: str, key: tuple[str, int], rest: list[Any]) -> None:
        held = agent.held.get(key)
        try:
            rest = worker_messages.of_batch(kind, rest, MOST_JOBS if held is None else held.most)
        except MessageRefused:
            if held is not None:
                self._spoilt(agent, held)
            raise
        if held is None or not held.is_muted:
            self.meter.news(kind, rest)
        if held is None or kind == "dropped":
            return
        if kind == "replaying":
            held.is_muted = False
        elif not held.is_muted and not (held.client.is_detached and kind in ("begun", "cut")):
            self._tell_client(agent, held, kind, rest)

    def _spoilt(self, agent: WorkerRecord, held: BatchRecord) -> None:
        """A worker says of a batch what makes no sense: its client gets it back, and nobody else notices."""
        del agent.held[held.key]
        held.client.held.pop(held.ident, None)
        self.to_agent(agent, ("drop", [held.key]))
        self.over(held, held.client.deliver(agent.name, ("lost", held.ident, held.jobs)))
        self.place()

    def _tell_client(self, agent: WorkerRecord, held: BatchRecord, kind: str, rest: list[Any]) -> None:
        client = held.client
        held.heard += kind in wire.LASTING
        held.is_begun = True
        number = client.deliver(agent.name, (kind, held.ident, *rest))
        if kind == "cut":
            client.cuts.append((number, held.ident, int(rest[0])))
        if kind != "end":
            return
        agent.beats += 1
        del agent.held[held.key]
        client.held.pop(held.ident, None)
        client.ends.append((number, agent.name, held.key))
        again = remainder(held, *rest[:2])
        if again is None:
            self.over(held, number)
        elif client.is_detached:
            self.hold(again)
        else:
            client.names[held.ident] = (held.jobs, client.function_of(held.digest))
            client.leftover[held.ident] = again
        self.place()

    # ---- workers that come and go

    def _agent_joined(self, address: str, facts: dict[str, Any]) -> None:
        bearer = None if self.guard is None else self.guard.bearers.by_address[address]
        why = why_not(facts, None if bearer is None else bearer.name)
        if why:
            self.meter.refused += 1
            log.warning(f"refused worker {facts.get('name')}: {why}")
            self._send_away(address, why)
            return
        self.scheduler.stream_comms[address].interval = HOLD_S
        facts["health"] = in_health(facts["health"], self.now())
        agent = WorkerRecord(address, facts, self.loop.time())
        self.watching.event("joined", agent.name, f"{agent.slots} slots")
        agent.is_draining = self.draining.get(agent.name) == facts["life"]
        self.agents[agent.name] = agent
        if self.latest is not None:
            self.to_agent(agent, ("trust", self.latest))
        log.info(f"{agent.name} joined from {agent.info['address']} with {agent.slots} slots.")
        self.book.nodes.joined(agent.info, self.now())
        for client in self.clients.values():
            limited = [d for d, (_, known) in client.computations.items() if known.get("limits") is not None]
            for digest in limited:
                self._define(client, agent, digest)
        self.dask.joined(agent)
        self.tell_workers()
        self.sort_strays(agent)
        self.place()

    def _send_away(self, address: str, why: str) -> None:
        """Tell a worker why it may not be here."""
        if address in self.scheduler.stream_comms:
            self.scheduler.worker_send(address, {"op": STREAM_OP, "body": wire.pack(("refuse", why))})
            self.loop.call_later(LEAVE_S, self._remove_stranger, address, self.scheduler.stream_comms[address])

    def _remove_stranger(self, address: str, stream: Any) -> None:
        """End the connection of a worker that was sent away and has not gone."""
        if self.scheduler.stream_comms.get(address) is stream:
            self._remove(address)

    def client_drain(self, client: ClientSession, name: str, is_on: bool) -> None:
        """Somebody asks that a worker take no more batches, or take some again; what runs there goes on."""
        agent = self.agents.get(name)
        if agent is not None:
            agent.is_draining = bool(is_on)
            self.draining[name] = agent.info["life"] if is_on else ""
            for held in list(agent.held.values()) if is_on else ():
                self.to_agent(agent, ("recall", held.key))
            self.dask.drain(agent)
            self.tell_workers()
            self.place()
        client.send("drain", {"found": agent is not None, "workers": sorted(self.agents)})

    def may_replace(self, name: str) -> bool:
        """Say whether a worker that comes is the one of this name: its certificate says so, or else silence."""
        agent = self.agents.get(name)
        return self.guard is not None or agent is None or agent.is_silent

    def _heard(self, agent: WorkerRecord) -> None:
        """A worker gave a sign of life."""
        agent.heard_at = self.loop.time()
        if agent.is_silent:
            agent.is_silent = False
            log.info(f"{agent.name} answers again.")
            self.tell_workers()
            self.place()

    def look_at_agents(self, now: float) -> None:
        """Give nothing more to workers that are silent, and count those as lost that stay so."""
        for agent in list(self.agents.values()):
            read = bytes_read(self.scheduler.stream_comms.get(agent.address))
            if read != agent.read:  # a long message on its way is a sign of life too
                agent.read = read
                self._heard(agent)
            silent_s = now - agent.heard_at
            if silent_s > LOST_S:
                log.warning(f"{agent.name} gave no sign of life for {silent_s:.0f} s.")
                self._remove(agent.address)
            elif silent_s > SILENT_S and not agent.is_silent:
                agent.is_silent = True
                self.tell_workers()
            if agent.unclaimed and now - agent.joined_at > STRAY_S:
                self.to_agent(agent, ("drop", sorted(agent.unclaimed)))
                agent.unclaimed.clear()

    def _remove(self, address: str) -> None:
        """Let Dask forget a worker, which tells the clients whose batches it had."""
        comm = self.scheduler.stream_comms.get(address)
        removing = asyncio.ensure_future(
            self.scheduler.remove_worker(address=address, stimulus_id="octapi-silent", close=False)
        )
        self._removing.add(removing)
        removing.add_done_callback(self._removing.discard)
        if comm is not None:
            comm.abort()

    async def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """Dask says that a worker is gone."""
        self.gone(worker)

    def gone(self, worker: str) -> None:
        """A worker, or the process of its Dask tasks, is gone: tell the clients whose batches it had."""
        found = [agent for agent in self.agents.values() if agent.address == worker]
        for agent in found:
            del self.agents[agent.name]
        if self.guard is not None:
            self.guard.bearers.forget(worker)
        if not found:
            return
        self.dask.list_workers()
        self.tell_workers()
        for agent in found:
            why = "it gave no sign of life" if agent.is_silent else "its connection ended"
            log.log(logging.WARNING if agent.is_silent else logging.INFO, f"{agent.name} left: {why}.")
            self.watching.event("left", agent.name, why)
            self.meter.lost += len(agent.held)
            self.book.nodes.went(agent.name, workers.LOST, why, self.now())
            for held in list(agent.held.values()):
                held.client.held.pop(held.ident, None)
                self.over(held, held.client.deliver(agent.name, ("lost", held.ident, held.jobs)))
        self.place()

    def slots(self) -> int:
        """Return how many slots there are now."""
        return sum(agent.slots for agent in self.agents.values())

    def rows(self) -> list[dict[str, Any]]:
        """Return the workers as clients read them."""
        return [{key: agent.info[key] for key in FACTS} | {"state": agent.state} for agent in self.agents.values()]

    def _tell_later(self) -> None:
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(HEALTH_S, self.tell_workers)

    def tell_workers(self) -> None:
        """Tell all clients which workers there are."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        rows = self.rows()
        self.on_workers([row | {"ssh": self.agents[row["name"]].info.get("ssh")} for row in rows])
        for client in self.clients.values():
            client.send("workers", rows)


def is_hello(message: Any) -> bool:
    """Say whether a worker introduces itself."""
    return isinstance(message, (list, tuple)) and bool(message) and message[0] == "hello"


def bytes_read(stream: Any) -> int:
    """Return how much has come over a connection of Dask's, the message that comes just now included."""
    found = getattr(getattr(stream, "comm", None), "stream", None)
    return int(getattr(found, "_total_read_index", 0)) + int(getattr(found, "_read_buffer_size", 0))
