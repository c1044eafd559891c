"""A client, a master and workers without a network, whose messages, faults and clock a test moves.

Everything but sockets and processes is real: the dispatcher's core, the link, the gateway, the stations.
"""

import asyncio
import pickle
from collections import Counter, deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from octapi.client.linked_core import LinkedCore
from octapi.client.listener import ComputationListener
from octapi.client.pending_job import PendingJob
from octapi.client.queue import ComputationQueue
from octapi.client.remote import RemoteLink
from octapi.master.gateway.gateway import Gateway
from octapi.master.gateway.registry import RunRegistry
from octapi.protocol import outcome, wire
from octapi.protocol.computation import FUNCTION, Computation
from octapi.protocol.messages import plain
from octapi.protocol.worker_messages import Begun, End, Provisional, Results
from octapi.settings import Settings
from octapi.worker.resumable_agent import ResumableAgent


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time moves when a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()

    def time(self) -> float:
        return self.now

    def do(self, function: Any, *arguments: Any) -> Any:
        """Call a function in the loop, and let what follows from it happen."""

        async def run() -> Any:
            found = function(*arguments)
            if asyncio.iscoroutine(found):
                found = await found
            for _ in range(5):
                await asyncio.sleep(0)
            return found

        return self.run_until_complete(run())


class Pipe:
    """One direction of a connection: whole frames, in order."""

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.is_closed = False
        self.unsent = 0

    def write(self, data: bytes) -> None:
        while data and not self.is_closed:
            size = wire.LENGTH.unpack_from(data)[0] + wire.LENGTH.size
            self.frames.append(data[:size])
            data = data[size:]

    def writelines(self, parts: Any) -> None:
        for part in parts:
            self.write(part)

    def is_closing(self) -> bool:
        return self.is_closed

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        self.is_closed = True


class Told(PendingJob):
    """A ticket that keeps all its outcomes."""

    def __init__(self, number: int, retries: int) -> None:
        super().__init__(pickle.dumps(((number,), {})), retries=retries)
        self.number = number
        self.outcomes: list[int] = []
        self.provisionals = 0

    def provisional(self, data: bytes) -> None:
        self.provisionals += 1

    def resolve(self, kind: int, *_: Any) -> None:
        self.outcomes.append(kind)


class FakeAgent:
    """Holds batches, and runs one job of one when it is told to."""

    def __init__(self, resumable: ResumableAgent, started: Counter[int]) -> None:
        self.resumable = resumable
        self.started = started
        self.batches: dict[Any, Any] = {}
        self.computations = SimpleNamespace(known={})

    def define(self, digest: str) -> None:
        self.computations.known[digest] = SimpleNamespace(refused="", is_ready=True)

    def run(self, key: Any, facts: dict[str, Any]) -> None:
        jobs = wire.jobs_of(facts["form"], facts["data"])
        self.batches[key] = SimpleNamespace(jobs=jobs, at=facts.get("skip", 0), child=None, seen=0, skip=0, is_in=False)

    def step(self) -> None:
        """Start the next job of the oldest batch, or end it; after the last one, end the batch."""
        for key, batch in self.batches.items():
            if batch.at == 0:
                self.resumable.post(Begun(key, 0))
            if batch.at < len(batch.jobs):
                (number,), _ = pickle.loads(batch.jobs[batch.at])
                batch.is_in = not batch.is_in
                if batch.is_in:
                    self.started[number] += 1
                    self.resumable.post(Provisional(key, batch.at, b""))
                    return
                data = pickle.dumps(number)
                record = wire.RECORD.pack(batch.at, outcome.VALUE, len(data), 1.0, 0.01) + data
                self.resumable.post(Results(key, record))
                batch.at += 1
            else:
                del self.batches[key]
                self.resumable.post(End(key, "done", len(batch.jobs), {}))
            return

    def give_back(self) -> None:
        """Give back what is left of the youngest batch."""
        if self.batches:
            key, batch = self.batches.popitem()
            if batch.is_in:  # what runs is not given back
                self.batches[key] = batch
                return
            self.resumable.post(End(key, "returned", batch.at, {}))

    def drop(self, key: Any) -> None:
        self.batches.pop(key, None)

    def on_kill(self, session: str) -> None:
        for key in [key for key in self.batches if key[0] == session]:
            del self.batches[key]


class Worker:
    """A station, and the two ways between it and the master."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.address = ""
        self.up: deque[Any] = deque()
        self.down: deque[Any] = deque()
        self.start()

    def start(self) -> None:
        """Begin a new life."""
        self.resumable = ResumableAgent(1, self.name)
        self.agent = FakeAgent(self.resumable, self.world.started)
        self.resumable.agent = self.agent  # type: ignore[assignment]

    def join(self) -> None:
        """Connect to the master."""
        self.leave()
        self.address = f"tcp://{self.name}:{next(self.world.numbers)}"
        self.world.scheduler.stream_comms[self.address] = SimpleNamespace(interval=0.0, abort=lambda: None)
        facts = dict.fromkeys(("platform", "python", "host", "address", "release"), "3.13.0")
        facts |= {"name": self.name, "slots": 1, "memory": 1, "health": {}, **self.resumable.standing()}
        protocol = {"protocol": wire.PROTOCOL, "oldest": wire.OLDEST_PROTOCOL}
        self.resumable.connect(lambda message: self.up.append(plain(message)))
        self.up.append(("hello", facts | protocol))
        self.resumable.announce()

    def leave(self) -> None:
        """Lose the connection, and all that is on its way; the master sees it."""
        self.resumable.connect(None)
        self.up.clear()
        self.down.clear()
        if self.address:
            address, self.address = self.address, ""
            self.world.scheduler.stream_comms.pop(address, None)
            self.world.loop.do(self.world.gateway.remove_worker, self.world.scheduler, address)

    def hear(self) -> None:
        """Take one message of the master."""
        if not self.down:
            return
        kind, *rest = wire.unpack(wire.pack(self.down.popleft())[wire.LENGTH.size :])
        if kind == "define":
            self.agent.define(rest[0])
        elif kind == "run":
            self.agent.run(tuple(rest[0]), rest[3])
        elif kind in ("settled", "drop", "kill"):
            getattr(self.resumable, kind)(*rest)
        elif kind == "replay":
            self.resumable.replay(tuple(rest[0]), rest[1])

    def speak(self) -> None:
        """Let one message reach the master."""
        if self.up:
            self.world.loop.do(self.world.gateway.take_report, self.address, wire.pack(self.up.popleft()))


class World:
    """One client, one master, two workers."""

    def __init__(self) -> None:
        self.loop = Clock()
        self.started: Counter[int] = Counter()
        self.numbers = iter(range(1, 1 << 30))
        self.pending_jobs: list[Told] = []
        self.gateway: Any = None
        self.start_master()
        self.core = LinkedCore()
        way: Any = SimpleNamespace(source="", label="here", place="here", trust=None)
        self.link = RemoteLink(way, Settings())
        self.link.hear_for(self.core)
        self.core.link = self.link
        self.up, self.down = Pipe(), Pipe()
        self.client: Any = None
        self.workers = [Worker(self, name) for name in ("red", "green")]
        self.connect()
        self.queue = ComputationQueue(self.core, Computation(FUNCTION, "f"), None, ComputationListener())
        self.loop.do(self.core.add_lane, self.queue)

    def start_master(self) -> None:
        """Start a master that knows nothing."""
        if self.gateway is not None:
            self.loop.do(self.gateway.stop)
        self.scheduler: Any = SimpleNamespace(
            stream_handlers={}, add_plugin=lambda _: None, port=1, workers={}, stream_comms={}, worker_send=self.send,
            tasks={}, users=list, aliases={}, task_metadata={},
        )  # fmt: skip
        self.gateway = self.loop.do(lambda: Gateway(self.scheduler, None, self.registry()))
        self.gateway.batches.choose = lambda held: next(iter(self.found(held)), None)

    def registry(self) -> RunRegistry | None:
        """Return what a master writes down; here nothing."""
        return None

    def found(self, held: Any) -> Any:
        """Choose a worker without asking Dask."""
        from octapi.master.gateway.placement import least_loaded

        return least_loaded(self.gateway.workers, held)

    def send(self, address: str, message: dict[str, Any]) -> None:
        """Carry a message of the master to a worker; as in Dask, one that has left has no stream."""
        assert self.scheduler.stream_comms[address]
        for worker in self.workers:
            if worker.address == address:
                worker.down.append(wire.unpack(message["body"][wire.LENGTH.size :]))

    def connect(self) -> None:
        """Let the client come, or come back."""
        is_again = self.client is not None
        self.cut()
        self.up, self.down = Pipe(), Pipe()
        facts = self.link.introduction(is_again)
        self.client = self.loop.do(self.gateway.sessions.greet, self.down, facts, None)
        welcome = wire.unpack(self.down.frames.popleft()[wire.LENGTH.size :])[1]
        self.link.writer = self.up  # type: ignore[assignment]
        self.link.is_connected = True
        if is_again:
            self.loop.do(self.link.go_on, welcome, self.up)
        else:
            self.loop.do(self.link._take_workers, welcome["workers"])

    def cut(self) -> None:
        """Break the client's connection; what is on its way is lost."""
        if self.client is not None and not self.down.is_closed:
            self.up.close()
            self.down.close()
            self.link.is_connected = False
            self.loop.do(self.gateway.sessions.left, self.client, self.down)

    def restart_master(self) -> None:
        """Kill the master and start it again; all connections break."""
        self.up.close()
        self.down.close()
        self.link.is_connected = False
        for worker in self.workers:
            worker.resumable.connect(None)
            worker.up.clear()
            worker.down.clear()
            worker.address = ""
        self.start_master()

    def client_speaks(self) -> None:
        """Let one frame of the client reach the master."""
        if self.up.frames and not self.up.is_closed:
            self.loop.do(self.gateway.requests.take, self.client, self.up.frames.popleft()[wire.LENGTH.size :])

    def client_hears(self) -> None:
        """Let one frame of the master reach the client."""
        if self.down.frames and not self.down.is_closed:
            self.loop.do(self.link.take, self.down.frames.popleft()[wire.LENGTH.size :])

    def pass_time(self, seconds: float) -> None:
        """Let time pass; whoever is connected gives signs of life."""
        for _ in range(int(seconds)):
            self.loop.now += 1.0
            for worker in self.workers:
                agent = self.gateway.workers.by_name.get(worker.name)
                if agent is not None and agent.address == worker.address:
                    agent.heard_at = self.loop.now
            if not self.up.is_closed:
                self.client.heard_at = self.loop.now
                self.loop.do(self.link._acknowledge)
            self.loop.do(lambda: None)

    def move(self) -> None:
        """Let everything go on by one step."""
        self.client_speaks()
        self.client_hears()
        for worker in self.workers:
            worker.speak()
            worker.hear()
            worker.agent.step()

    def finish(self) -> None:
        """Mend everything, and run all jobs to their end."""
        if self.up.is_closed:
            self.connect()
        for worker in self.workers:
            if not worker.address:
                worker.join()
        for _ in range(3000):
            self.move()
            if all(pending_job.done for pending_job in self.pending_jobs):
                return
            if not (self.up.frames or self.down.frames or any(w.up or w.down or w.agent.batches for w in self.workers)):
                self.pass_time(1.0)

    def close(self) -> None:
        """Free the loop."""
        self.loop.do(self.gateway.stop)
        self.loop.close()


class Remembering(World):
    """A world whose master keeps a book."""

    def __init__(self, place: Path) -> None:
        self.place = place
        super().__init__()

    def registry(self) -> RunRegistry:
        return RunRegistry(self.place)
