"""A page beside a script, on this computer's loopback, for as long as the script's cluster lives.

It is a process of its own, so that it cannot slow the script.  For a cluster with a master it watches the master; for
this computer's own cores the script sends it frames, and only while somebody looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from octapi import lines
from octapi.dispatch.local import LocalLink
from octapi.dispatch.waiting import Reporter
from octapi.errors import ClusterError
from octapi.master.watching import SAMPLES, TICK_S, differences
from octapi.page.links import ACT, Links

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.dispatch.dispatcher import Dispatcher
    from octapi.dispatch.outcome import WorkerInfo
    from octapi.dispatch.way import Way

HOST: Final = "127.0.0.1"
STOP_S: Final = 5.0
#: the name of the only run there is
RUN: Final = "this-script"
#: how long frames are still sent after somebody has asked for one, in seconds
LINGER_S: Final = 15.0


def start_of(way: Way | None, links: Links) -> dict[str, Any]:
    """Return what the page's process is told when it starts; without a ``way`` frames will be sent to it."""
    start: dict[str, Any] = {"host": HOST, "port": 0, "key": links.key, "links": links.plain()}
    start["cluster"] = "this computer" if way is None else "cluster"
    if way is not None:
        start |= {"places": [[way.host, way.port]], "time": time.time()}
        if way.trust is not None:
            identity = way.trust.identity
            start |= {"identity": identity.to_json(), "cluster": identity.cluster, "time": way.trust.clock.now()}
    return start


class Opened:
    """A page's process on loopback; ``link`` lets people in.

    ``hear`` gets what it says.  Raises :exc:`ClusterError` when the extra is not installed.
    """

    def __init__(self, way: Way | None, hear: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        from octapi.master.paging import MISSING, is_installed

        if not is_installed():
            raise ClusterError(f"There is {MISSING}")
        links = Links(None, time.time)
        token = links.new(ACT, 30 * 86400.0)
        self._hear = hear
        self._process = subprocess.Popen(
            [sys.executable, "-m", "octapi.page.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.write(start_of(way, links))
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        if not ready:
            raise ClusterError("The page did not start; its own message is above.")
        self.link = f"http://{HOST}:{json.loads(ready)['port']}/login?token={token}"
        self._reader = threading.Thread(target=self._read, name="octapi-page", daemon=True)
        self._reader.start()

    def write(self, message: dict[str, Any]) -> None:
        """Tell it something; one that has ended is told nothing, which must not end the script."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(lines.to_line(message))
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._hear(json.loads(line))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(STOP_S)
        self._process.stdout.close()


class Beside:
    """The page of one dispatcher.  Raises :exc:`ClusterError` when the extra is not installed."""

    def __init__(self, engine: Dispatcher) -> None:
        self._engine = engine
        self._opened = Opened(getattr(engine.link, "way", None), self._hear)
        self._frames = Frames(engine, self._opened.write)
        self.link = self._opened.link
        print(f"octapi: the page: {self.link}", file=sys.stderr, flush=True)

    def _hear(self, message: dict[str, Any]) -> None:
        if message["kind"] == "look":
            self._engine.call(self._frames.look, int(message["lookers"]))
        elif message["kind"] == "do":
            self._engine.call(self._do, message["question"])

    def _do(self, question: list[Any]) -> None:
        if question[0] == "stop":
            self._engine.stop_jobs()
        else:
            self._engine.stop_job(int(question[2]))

    def close(self) -> None:
        """End it."""
        self._engine.call(self._frames.close)
        self._opened.close()


class Frames:
    """Makes frames of a dispatcher's own cores, as a master would; lives on the dispatcher's thread."""

    def __init__(self, engine: Dispatcher, write: Any) -> None:
        self._engine = engine
        self._write = write
        self.lookers = 0
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._workers: dict[str, dict[str, Any]] = {}
        self._is_new = True
        self._news: list[dict[str, Any]] = []
        self._samples: deque[list[float]] = deque(maxlen=SAMPLES)
        self._began = time.time()
        if isinstance(engine.link, LocalLink):
            engine.link.on_report = self._heard

    def _heard(self, summary: dict[str, Any]) -> None:
        if summary.get("story") is not None and not self._is_new:
            self._news.append(summary["story"])

    def look(self, lookers: int) -> None:
        """So many look now."""
        self.lookers = lookers
        self._until = time.monotonic() + LINGER_S
        if self._timer is None and isinstance(self._engine.link, LocalLink):
            self._tick()

    def _tick(self) -> None:
        if not self.lookers and time.monotonic() > self._until:
            self.close()
            return
        Reporter(self._engine).report()
        self._write({"kind": "frame", "frame": self.frame(time.time())})
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def frame(self, now: float) -> dict[str, Any]:
        """Return what has changed since the last frame."""
        lights = [
            [RUN, f.lane.computation.name, f.ident] for f in self._engine.flights.values() if f.worker is not None
        ]
        workers = {info.name: self._row(info, lights, now) for info in self._engine.workers()}
        slots = sum(info.slots for info in self._engine.workers())
        summary = self._engine.summary()
        sample = [round(now, 1), slots, min(len(lights), slots), summary["waiting"]]
        frame: dict[str, Any] = {"time": now, "full": self._is_new, "sample": sample, "forgotten": [], "events": []}
        frame["workers"], frame["gone"] = differences({} if self._is_new else self._workers, workers)
        frame["runs"] = {RUN: summary | self._facts()}
        stories = [self._engine.teller.story.plain() | {"whole": True}] if self._is_new else self._news
        frame |= {"stories": {RUN: stories}, "samples": list(self._samples)}
        self._samples.append(sample)
        self._workers, self._is_new, self._news = workers, False, []
        return frame

    def _row(self, info: WorkerInfo, lights: list[Any], now: float) -> dict[str, Any]:
        facts = {key: value for key, value in info._asdict().items() if key not in ("health", "state")}
        health = {key: value for key, value in info.health.items() if key != "clock"}
        story = self._engine.teller.story
        times = {"joined": self._began, "heard": now, "beats": story.done + story.failed, "state": "ok"}
        return facts | times | {"health": health, "lights": lights[: info.slots]}

    def _facts(self) -> dict[str, Any]:
        script = Path(sys.argv[0]).name
        return {"run": RUN, "number": 0, "script": script, "since": self._began, "ended": None, "is_detached": False}

    def close(self) -> None:
        """Make no more frames until somebody looks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_new = True
