"""The gateway: what clients talk to, beside Dask's scheduler and in the same loop.

    client ── define, run, tell ──> Gateway ── Dask's own comms ──> agents
    client <── messages of agents ── Gateway <── Dask's own comms ── agents

It holds every batch until its end has been told, asks Dask which worker takes it, and tells the
client when Dask says that a worker is lost.  It unpickles nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin

from octapi import _version
from octapi.dispatch import wire
from octapi.master.book import Book
from octapi.master.client import Client, Held, remainder
from octapi.master.hello import FACTS, why_not
from octapi.master.placing import Agent, least_loaded
from octapi.store import nodes
from octapi.trust.policy import STREAM_OP

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed.scheduler import Scheduler, WorkerState

    from octapi.trust.daskcomm import Guard
    from octapi.trust.names import Peer

#: Dask holds messages back this long to send them together; ours are batches already, in seconds
HOLD_S = 0.0002
NO_SUCH_CLIENT = "The master knows no crashed client with this recovery file."
#: how long news of workers' health are collected before clients are told, in seconds
HEALTH_S = 1.0


class Gateway(SchedulerPlugin):  # type: ignore[misc]
    """Clients on one side, Dask's workers on the other."""

    name = "octapi-gateway"
    idempotent = True

    def __init__(self, scheduler: Scheduler, guard: Guard | None = None, book: Book | None = None) -> None:
        self.scheduler = scheduler
        self.guard = guard
        self.book = book or Book(None)
        self.roster: list[dict[str, Any]] = []
        self.on_workers: Callable[[list[dict[str, Any]]], None] = lambda _: None
        self.clients: dict[int, Client] = {}
        self.agents: dict[str, Agent] = {}
        self.detached: dict[str, Client] = {}
        self._number = itertools.count(1)
        #: the latest news of trust, for workers that join
        self.latest: dict[str, Any] | None = None
        self._telling: asyncio.TimerHandle | None = None
        scheduler.stream_handlers[STREAM_OP] = self.from_agent
        scheduler.add_plugin(self)

    async def stop(self) -> None:
        """Hang up on all clients."""
        for client in list(self.clients.values()):
            if client.writer is not None:
                client.writer.close()
        self.book.close()

    # ---- clients

    def greet(self, writer: asyncio.StreamWriter, kind: str, facts: dict[str, Any], peer: Peer | None) -> Client | None:
        """Welcome a client, or somebody who fetches what was kept of one; None for nobody."""
        if kind == "resume":
            return self._resume(writer, str(facts.get("token")))
        client = Client(writer, facts, peer)
        client.run = self.book.new_id(facts.get("run"), owner_of(peer))
        self.clients[client.number] = client
        welcome = {"dask_port": self.scheduler.port, "workers": self.rows(), "release": _version.__version__}
        client.send("welcome", welcome | {"time": self.now(), "run": client.run})
        return client

    def now(self) -> float:
        """Return the cluster's time in epoch seconds."""
        return time.time() if self.guard is None else self.guard.trust.clock.now()

    def _resume(self, writer: asyncio.StreamWriter, token: str) -> Client | None:
        """Let somebody with a client's token have what was kept of it."""
        client = self.detached.get(token)
        if client is None or client.writer is not None:
            writer.write(wire.pack(("refused", {"error": "ClusterError", "text": NO_SUCH_CLIENT})))
            return None
        writer.write(wire.pack(("recovered", {"workers": self.rows()})))
        client.attach(writer)
        self._tell_if_complete(client)
        return client

    def _tell_if_complete(self, client: Client) -> None:
        if client.is_detached and not client.held:
            client.send("complete")

    def client_bye(self, client: Client) -> None:
        """The client ends as it should."""
        client.said_bye = True
        if client.is_run:
            self.book.move(client.run, "bye")

    def client_summary(self, client: Client, summary: dict[str, Any]) -> None:
        """The client tells how far its jobs are."""
        client.summary = {key: summary.get(key) for key in ("waiting", "running", "done", "failed", "functions")}
        if client.is_run:
            self.book.count(client.run, client.summary, self.slots())

    def client_jobs(self, client: Client) -> None:
        """Somebody asks which scripts run."""
        client.send("jobs", [other.row() for other in self.clients.values() if other.summary or other.is_detached])

    def client_nodes(self, client: Client) -> None:
        """Somebody asks who is in, and how their certificates stand."""
        client.send("nodes", {"workers": self.rows(), "members": self.roster} | self.standing())

    def standing(self) -> dict[str, Any]:
        """Return the cluster's time, and what is wrong with the master in words."""
        return {"time": self.now(), "trouble": [self.book.trouble] if self.book.trouble else []}

    def client_runs(self, client: Client, limit: int = 100) -> None:
        """Somebody asks for the latest runs."""
        rows = [run.public() for run in self.book.recent(min(int(limit), 10_000))]
        client.send("runs", {"runs": rows} | self.standing())

    def client_stop(self, client: Client, number: int) -> None:
        """Somebody asks to stop the jobs of a script."""
        found = self.clients.get(number)
        if found is not None:
            found.send("stop")
            if found.is_run:
                self.book.move(found.run, "stop")
            if found.writer is None:
                found.said_bye = True
                self.client_left(found)
        client.send("stop", found is not None)

    def client_settled(self, client: Client) -> None:
        """Everything that was kept of a client has been fetched."""
        client.said_bye = True
        self.book.move(client.run, "fetched")

    def client_left(self, client: Client) -> None:
        """Go on without a client, or stop its jobs."""
        if client.is_run:
            self.book.move(client.run, "left")
        if client.can_detach:
            client.detach()
            self.detached[client.token] = client
            return
        self.clients.pop(client.number, None)
        self.detached.pop(client.token, None)
        client.waiting.clear()
        for agent in list(self.agents.values()):
            self.to_agent(agent, ("kill", client.number))
            for key in [key for key, held in agent.held.items() if held.client is client]:
                del agent.held[key]
            for digest in client.computations:
                if digest in agent.known:
                    agent.known.discard(digest)
                    self.to_agent(agent, ("forget", digest))
        self.place()

    def client_define(self, client: Client, digest: str, spec: bytes, facts: dict[str, Any]) -> None:
        """Keep a computation; workers that may run it get it now, so that setup can begin."""
        if not client.is_run:
            client.is_run = True
            self.book.begin(client.run, client.facts, owner_of(client.peer), self.slots())
        client.computations[digest] = (spec, facts)
        for agent in list(self.agents.values()):
            if digest in agent.known or facts.get("limits") is not None:
                self._define(client, agent, digest)
        self.place()

    def _define(self, client: Client, agent: Agent, digest: str) -> None:
        spec, facts = client.computations[digest]
        limits = facts.get("limits")
        limit = None if limits is None else limits.get(agent.name, 0)
        if limit == 0 and digest not in agent.known:
            return
        agent.known.add(digest)
        own = (facts.get("workers") or {}).get(agent.name) or {}
        self.to_agent(agent, ("define", digest, spec, {**own, "limit": limit}))

    def client_run(self, client: Client, ident: int, run: int, digest: str, facts: dict[str, Any]) -> None:
        """Take a batch."""
        if not isinstance(facts.get("jobs"), int) or digest not in client.computations:
            raise ValueError(f"a batch without its computation or its number of jobs: {digest!r}")
        held = Held(client, ident, digest, facts)
        client.held[ident] = held
        client.waiting.append(held)
        self.place()

    def client_tell(self, client: Client, worker: str | None, message: list[Any]) -> None:
        """Pass a message on to one agent or to all."""
        kind, subject = message[0], message[1]
        if kind in ("cancel", "recall", "stop"):
            held = client.held.get(subject)
            if held is None:
                return
            if held.worker is None:
                client.waiting.remove(held)
                del client.held[subject]
                client.send("agent", "", ("end", subject, "returned", held.facts.get("skip", 0), {}))
                return
            self.to_agent(self.agents[held.worker], (kind, held.key, *message[2:]))
            return
        for agent in list(self.agents.values()):
            if worker in (None, agent.name):
                if kind == "forget":
                    agent.known.discard(subject)
                self.to_agent(agent, tuple(message))
        if kind == "forget" and worker is None:
            client.computations.pop(subject, None)

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

    def _running(self, client: Client) -> int:
        return len(client.held) - len(client.waiting)

    def _placeable(self, client: Client) -> Held | None:
        tried: set[str] = set()
        for held in client.waiting:
            if held.digest in tried and not held.facts.get("worker"):
                continue
            agent = self.choose(held)
            if agent is None:
                tried.add(held.digest)
                continue
            client.waiting.remove(held)
            self._assign(held, agent)
            return held
        return None

    def choose(self, held: Held) -> Agent | None:
        """Let Dask decide between the least loaded workers that may take a batch."""
        agents = {agent.address: agent for agent in least_loaded(self.agents.values(), held)}
        if len(agents) == 1:
            return next(iter(agents.values()))
        found = self._ask_dask(set(agents))
        return None if found is None else agents[found.address]

    def _ask_dask(self, addresses: set[str]) -> WorkerState | None:
        """Return the worker that Dask knows and that has the smallest backlog of Dask's own tasks."""
        running = [worker for worker in self.scheduler.workers.values() if worker.address in addresses]
        return min(running, key=lambda worker: worker.occupancy / worker.nthreads, default=None)

    def _assign(self, held: Held, agent: Agent) -> None:
        if held.digest not in agent.known:
            self._define(held.client, agent, held.digest)
        held.worker = agent.name
        agent.held[held.client.number, held.ident] = held
        self.to_agent(agent, ("run", held.key, held.client.number, held.digest, held.facts))

    # ---- agents

    def to_agent(self, agent: Agent, message: tuple[Any, ...]) -> None:
        """Send one message over Dask's connection to the worker."""
        self.scheduler.worker_send(agent.address, {"op": STREAM_OP, "body": wire.pack(message)})

    def tell_agents(self, message: tuple[Any, ...]) -> None:
        """Send one message to all workers."""
        for agent in self.agents.values():
            self.to_agent(agent, message)

    def from_agent(self, worker: str, body: bytes) -> None:
        """Take one message that came over Dask's connection from a worker."""
        kind, subject, *rest = wire.unpack(body[wire.LENGTH.size :])
        if kind == "hello":
            return self._agent_joined(worker, subject)
        agent = next((agent for agent in self.agents.values() if agent.address == worker), None)
        if agent is None:
            return None
        if kind == "health":
            agent.info["health"] = subject
            self.book.nodes.health(agent.name, subject, self.now())
            return self._tell_later()
        if kind in ("ready", "refused", "closed"):
            return self._computation_news(agent, kind, subject, rest)
        return self._batch_news(agent, kind, subject, rest)

    def _computation_news(self, agent: Agent, kind: str, digest: str, rest: list[Any]) -> None:
        if kind == "refused":
            agent.refused.add(digest)
        for client in self.clients.values():
            if digest in client.computations:
                client.send("agent", agent.name, (kind, digest, *rest))

    def _batch_news(self, agent: Agent, kind: str, key: list[int], rest: list[Any]) -> None:
        held = agent.held.get((key[0], key[1]))
        if held is None or (held.client.is_detached and kind in ("begun", "cut")):
            return
        if kind == "end":
            del agent.held[key[0], key[1]]
            held.client.held.pop(held.ident, None)
        held.client.send("agent", agent.name, (kind, held.ident, *rest))
        if kind == "end":
            again = remainder(held, kind, rest) if held.client.is_detached else None
            if again is not None:
                self.client_run(held.client, held.ident, 0, held.digest, dict(held.facts, skip=again))
            self._tell_if_complete(held.client)
            self.place()

    def _agent_joined(self, address: str, facts: dict[str, Any]) -> None:
        bearer = None if self.guard is None else self.guard.bearers.by_address[address]
        why = why_not(facts, None if bearer is None else bearer.name)
        if why:
            say(f"octapi master: refused worker {facts.get('name')}: {why}")
            self.scheduler.worker_send(address, {"op": STREAM_OP, "body": wire.pack(("refuse", why))})
            return
        name = facts["name"]
        if name in self.agents and self.agents[name].address != address:
            facts = dict(facts, name=f"{name}-{next(self._number)}")
        self.scheduler.stream_comms[address].interval = HOLD_S
        agent = Agent(address, facts)
        self.agents[agent.name] = agent
        if self.latest is not None:
            self.to_agent(agent, ("trust", self.latest))
        say(f"octapi master: {agent.name} joined from {agent.info['address']} with {agent.slots} slots.")
        self.book.nodes.joined(agent.info | {"name": agent.name}, self.now())
        for client in self.clients.values():
            for digest, (_, known) in client.computations.items():
                if known.get("limits") is not None:
                    self._define(client, agent, digest)
        self.tell_workers()
        self.place()

    async def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """Dask says that a worker is gone: tell the clients whose batches it had."""
        found = [agent for agent in self.agents.values() if agent.address == worker]
        for agent in found:
            del self.agents[agent.name]
        if self.guard is not None:
            self.guard.bearers.forget(worker)
        self.tell_workers()
        for agent in found:
            say(f"octapi master: {agent.name} left.")
            self.book.nodes.went(agent.name, nodes.LOST, "its connection ended", self.now())
            for held in list(agent.held.values()):
                held.client.held.pop(held.ident, None)
                jobs = (held.facts["jobs"],) if held.client.is_detached else ()
                held.client.send("agent", agent.name, ("lost", held.ident, *jobs))
                self._tell_if_complete(held.client)
        self.place()

    def slots(self) -> int:
        """Return how many slots there are now."""
        return sum(agent.slots for agent in self.agents.values())

    def rows(self) -> list[dict[str, Any]]:
        """Return the workers as clients read them."""
        return [{key: agent.info[key] for key in FACTS} for agent in self.agents.values()]

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


def owner_of(peer: Peer | None) -> str:
    """Return the ident of whoever is at the other end; an empty text without encryption."""
    return "" if peer is None else peer.ident


def say(text: str) -> None:
    """Write one line of the master's log."""
    print(text, file=sys.stderr, flush=True)
