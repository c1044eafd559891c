"""What watchers are shown: workers, runs and their stories, a few times a second and only while somebody watches.

A watcher is a client that sent ``watch``.  It gets everything once, then what has changed.  While nobody watches, the
master keeps one sample of its use every few seconds and the latest comings and goings, nothing else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from octapi.device.keep_running import KeepRunning
from octapi.master.gateway.handshake import FACTS
from octapi.protocol import replies
from octapi.protocol.specs import ComputationFacts
from octapi.telemetry.run_trace import PACE_S, without_words
from octapi.telemetry.view import SAMPLES, TICK_S, View, differences, strain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from octapi.master.gateway.placement import WorkerRecord
    from octapi.master.gateway.session import ClientSession
    from octapi.telemetry.run_trace import RunTrace

#: how often the use is sampled, in seconds
SAMPLE_S: Final = 5.0
#: load and memory of each worker are kept for half an hour: of every so many samples of the use one, and so many
COURSE_EVERY: Final = 3
COURSE: Final = 120
#: comings and goings that are kept, and runs that are over
EVENTS: Final = 100
OVER: Final = 40
#: a watcher with more unread bytes is told nothing, and after so many seconds hung up on; with more news of stories
#: that it has not been told, it gets everything anew
UNREAD_BYTES: Final = 1 << 20
UNREAD_S: Final = 60.0
UNTOLD: Final = 500


def light(agent: WorkerRecord) -> list[list[Any]]:
    """Return what each busy slot of a worker runs: the run's name, the function's, the batch's number."""
    found = []
    for held in list(agent.held.values())[: agent.slots]:
        _, facts = held.client.computations.get(held.digest, (b"", ComputationFacts()))
        found.append([held.client.run, str(facts.get("name", ""))[:80], held.ident])
    return found


def worker_row(agent: WorkerRecord, epoch: float) -> dict[str, Any]:
    """Describe a worker for watchers; ``epoch`` added to the loop's time makes epoch seconds."""
    facts = {key: agent.info[key] for key in FACTS}
    times = {"joined": round(epoch + agent.joined_at, 1), "heard": round(epoch + agent.heard_at, 1)}
    return facts | times | {"lights": light(agent), "beats": agent.batches_done, "state": agent.state}


class Courses:
    """Load and used memory of each worker in the last half hour, in percent; None for what a worker does not tell."""

    def __init__(self) -> None:
        self._rows: dict[str, deque[tuple[float, int | None, int | None]]] = {}

    def sample(self, agents: list[WorkerRecord], now: float) -> None:
        """Take note of how all workers are, and forget those that went away long ago."""
        for agent in agents:
            rows = self._rows.setdefault(agent.name, deque(maxlen=COURSE))
            rows.append((now, *strain(agent.info["health"], agent.info["memory"])))
        oldest = now - COURSE * COURSE_EVERY * SAMPLE_S
        for name in [name for name, rows in self._rows.items() if rows[-1][0] < oldest]:
            del self._rows[name]

    def of(self, names: list[str]) -> dict[str, list[list[float | None]]]:
        """Return the courses of workers: rows of time (epoch seconds), load and used memory."""
        return {name: [list(row) for row in self._rows[name]] for name in names if name in self._rows}


class Seen:
    """What one watcher has been told."""

    def __init__(self, client: ClientSession) -> None:
        self.client = client
        self.workers: View = {}
        self.runs: View = {}
        self.is_new = True
        self.last_event = 0
        self.stories: dict[str, list[Mapping[str, Any]]] = {}
        #: since when it has too much to read, in seconds of the loop's clock; None if it has not
        self.behind_since: float | None = None

    def is_behind(self, now: float) -> bool:
        """Say whether it has too much to read already, and hang up on it if that has been so for long."""
        writer = self.client.writer
        if writer is None or writer.unsent <= UNREAD_BYTES:
            self.behind_since = None
            return False
        if self.behind_since is None:
            self.behind_since = now
        elif now - self.behind_since > UNREAD_S:
            writer.abort()
        if sum(map(len, self.stories.values())) > UNTOLD:
            self.is_new, self.stories = True, {}
        return True


class Subscriptions:
    """Tells watchers.

    ``agents``, ``clients`` and ``now`` return what there is now, ``now`` in epoch seconds.  ``may_read(watcher, run)``
    says whether a watcher may read what the jobs of a run printed, their arguments and their tracebacks.
    """

    def __init__(
        self,
        agents: Callable[[], list[WorkerRecord]],
        clients: Callable[[], list[ClientSession]],
        now: Callable[[], float],
        may_read: Callable[[ClientSession, str], bool] = lambda _, __: True,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._agents = agents
        self._clients = clients
        self._now = now
        self._may_read = may_read
        self._telling = KeepRunning("telling watchers", self._run, log)
        self._using = KeepRunning("sampling the use", self._sample, log)
        self._seen: dict[int, Seen] = {}
        self._task: asyncio.Task[None] | None = None
        self._sampling: asyncio.Task[None] | None = None
        self.samples: deque[list[float]] = deque(maxlen=SAMPLES)
        self.courses = Courses()
        self.events: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        #: runs that are over: what is shown of them, and their story; nothing else of them stays in memory
        self.over: dict[str, tuple[dict[str, Any], RunTrace | None]] = {}
        self._number = 0
        self._sampled = 0

    def start(self) -> None:
        """Begin to sample."""
        self._sampling = asyncio.get_running_loop().create_task(self._using.run())

    def close(self) -> None:
        """Tell nobody any more."""
        for task in (self._task, self._sampling):
            if task is not None:
                task.cancel()

    # ---- who watches

    @property
    def pace_s(self) -> float:
        """How often clients are to report, in seconds."""
        return TICK_S if self._seen else PACE_S

    def add(self, client: ClientSession) -> None:
        """Tell a client from now on; it gets everything first."""
        self._seen[client.number] = Seen(client)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._telling.run())
        self._set_pace()

    def remove(self, client: ClientSession) -> None:
        """Tell a client no more."""
        if self._seen.pop(client.number, None) is not None and not self._seen:
            if self._task is not None:
                self._task.cancel()
            self._set_pace()

    def _set_pace(self) -> None:
        for client in self._clients():
            client.send(replies.Pace(self.pace_s))

    # ---- what happens

    def event(self, kind: str, name: str, text: str = "") -> None:
        """Keep what happened to a worker or a run: ``joined``, ``left``, ``began``, ``ended``."""
        self._number += 1
        self.events.append({"number": self._number, "at": self._now(), "kind": kind, "name": name, "text": text})

    def story(self, client: ClientSession, news: dict[str, Any]) -> None:
        """Pass what is new in a run's story on."""
        for seen in self._seen.values():
            if not seen.is_new:
                seen.stories.setdefault(client.run, []).append(self._fit(seen, client.run, news))

    def _fit(self, seen: Seen, run: str, news: Mapping[str, Any]) -> Mapping[str, Any]:
        return news if self._may_read(seen.client, run) else without_words(news)

    def ended(self, client: ClientSession) -> None:
        """Keep a run that is over."""
        if client.story is None and not client.summary.get("functions"):
            return
        self.event("ended", client.run, str(client.facts.get("script") or ""))
        self.over[client.run] = (
            client.row() | {"ended": self._now(), "running": 0, "waiting": 0, "is_detached": False},
            client.story,
        )
        while len(self.over) > OVER:
            del self.over[next(iter(self.over))]

    # ---- telling

    async def _sample(self) -> None:
        while True:
            self.samples.append(self.sample())
            if self._sampled % COURSE_EVERY == 0:
                self.courses.sample(self._agents(), round(self._now(), 1))
            self._sampled += 1
            await asyncio.sleep(SAMPLE_S)

    def sample(self) -> list[float]:
        """Return the time, how many slots there are, how many work, and jobs that wait."""
        agents = self._agents()
        busy = sum(min(len(agent.held), agent.slots) for agent in agents)
        waiting = sum(client.left()[0] for client in self._clients())
        return [round(self._now(), 1), sum(agent.slots for agent in agents), busy, waiting]

    async def _run(self) -> None:
        while True:
            view = self.view()
            for seen in list(self._seen.values()):
                if not seen.is_behind(asyncio.get_running_loop().time()):
                    self._tell(seen, *view)
            await asyncio.sleep(TICK_S)

    def view(self) -> tuple[View, View]:
        """Return all workers and all runs."""
        epoch = self._now() - asyncio.get_running_loop().time()
        workers = {agent.name: worker_row(agent, epoch) for agent in self._agents()}
        runs = {run: row for run, (row, _) in self.over.items()}
        for client in self._clients():
            if client.summary.get("functions") or client.story is not None or client.is_detached:
                is_over = client.is_detached and client.is_complete
                runs[client.run] = client.row() | {"ended": epoch + client.heard_at if is_over else None}
        return workers, runs

    def _tell(self, seen: Seen, workers: View, runs: View) -> None:
        frame: dict[str, Any] = {"time": self._now(), "full": seen.is_new, "sample": self.sample()}
        frame["workers"], frame["gone"] = differences(seen.workers, workers)
        frame["runs"], frame["forgotten"] = differences(seen.runs, runs)
        if seen.is_new:
            found = {run: story for run, (_, story) in self.over.items()}
            found |= {client.run: client.story for client in self._clients() if client.story is not None}
            stories = {run: [self._fit(seen, run, s.plain())] for run, s in found.items() if s is not None}
            frame |= {"stories": stories, "samples": list(self.samples), "events": list(self.events)}
        else:
            events = [event for event in self.events if event["number"] > seen.last_event]
            frame |= {"stories": seen.stories, "events": events}
        seen.last_event = self._number
        seen.workers, seen.runs, seen.stories, seen.is_new = workers, runs, {}, False
        seen.client.send(replies.Watch(frame))
