"""The one model of state: frames of the master in, rows for people out.

Page, API, event stream and ``octapi nodes|jobs|runs --watch`` read it.  It has no clock, no input and no output: the
time comes with the frames (see :mod:`octapi.master.gateway.subscriptions`).
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from octapi.page import explain
from octapi.telemetry.run_trace import RunTrace

Row = dict[str, Any]
Table = dict[str, Row]
#: comings and goings, and samples of the last ten minutes, that are kept
EVENTS: Final = 100
SAMPLES: Final = 1500
SPAN_S: Final = 600.0
#: rates are measured over this time, in seconds
RATE_S: Final = 6.0
#: how long a worker that went away is still shown, in seconds, and how many of them
LOST_S: Final = 3600.0
LOST: Final = 60
FACTS: Final = "name address host slots platform python release memory health joined heard lights beats state".split()


class Run:
    """One run: what its script says, its story, and how quickly it goes."""

    def __init__(self) -> None:
        self.summary: Row = {}
        self.story = RunTrace()
        self.counts: deque[tuple[float, int]] = deque(maxlen=40)

    def finished(self) -> int:
        """Return how many jobs have an outcome."""
        return self.story.done + self.story.failed + self.story.cancelled

    def tick(self, now: float) -> None:
        """Take note of how far it is."""
        self.counts.append((now, self.finished()))
        while len(self.counts) > 2 and now - self.counts[0][0] > RATE_S:
            self.counts.popleft()

    def rate(self, now: float) -> float:
        """Return jobs a second in the last seconds."""
        if self.summary.get("ended") or len(self.counts) < 2:
            return 0.0
        (then, before), (_, after) = self.counts[0], self.counts[-1]
        return max(0, after - before) / max(now - then, 1e-3)

    def row(self, now: float) -> Row:
        """Return it for people."""
        summary, story = self.summary, self.story
        left = int(summary.get("waiting") or 0) + int(summary.get("running") or 0)
        rate = self.rate(now)
        first = story.first if story.first is not None else float(summary.get("since") or now)
        wall = max(0.0, (story.last if story.last is not None else first) - first)
        slots = int(summary.get("slots") or 0) or sum(1 for _ in story.workers)
        known = (
            "run",
            "number",
            "script",
            "user",
            "host",
            "pid",
            "since",
            "ended",
            "is_detached",
            "functions",
            "state",
        )
        found = {key: summary.get(key) for key in known}
        found["functions"] = sorted({*(summary.get("functions") or ()), *story.functions})
        counts = {key: getattr(story, key) for key in ("done", "failed", "cancelled", "retried")}
        found |= counts | {"waiting": int(summary.get("waiting") or 0), "running": int(summary.get("running") or 0)}
        found |= {"finished": self.finished(), "total": self.finished() + left, "slots": slots}
        found |= {"rate": round(rate, 2), "eta_s": round(left / rate, 1) if rate and left else None}
        found |= {"busy_s": round(story.busy_s, 3), "wall_s": round(wall, 3)}
        found["speedup"] = round(story.busy_s / wall, 3) if wall else None
        found["efficiency"] = round(story.busy_s / wall / slots, 4) if wall and slots else None
        found["sentence"] = explain.sentence(found | {"tail_s": tail_s(story), "used": slots})
        return found


def tail_s(story: RunTrace) -> float:
    """Return for how long, at the end, less than half of the usual work was done, in seconds."""
    sums: dict[int, float] = {}
    for (_, place), found in story.buckets.items():
        sums[place] = sums.get(place, 0.0) + found.busy_s
    if len(sums) < 4:
        return 0.0
    half = sorted(sums.values())[len(sums) // 2] / 2
    tail = 0
    for place in sorted(sums, reverse=True)[1:]:
        if sums[place] >= half:
            break
        tail += 1
    return tail * story.width_s


class Model:
    """The state of one cluster."""

    def __init__(self) -> None:
        self.now = 0.0
        self._workers: Table = {}
        self._runs: dict[str, Run] = {}
        self.samples: deque[list[float]] = deque(maxlen=SAMPLES)
        self.events: deque[Row] = deque(maxlen=EVENTS)
        self.workers: Table = {}
        #: workers that went away in the last hour: since when, and what they were
        self.away: Table = {}
        self.runs: Table = {}
        self.is_known = False
        #: what is wrong with the way to the master, and since when (epoch seconds); empty and None while all is well
        self.trouble: Row = {"since": None, "text": ""}

    # ---- what the feed tells

    def lost(self, now: float, text: str) -> Row:
        """Take note that the master does not answer; return the news for browsers."""
        self.trouble = {"since": self.trouble["since"] or now, "text": text}
        return {"trouble": self.trouble}

    def take(self, frame: Row) -> Row:
        """Take one frame of the master; return what is new for browsers."""
        now = self.now = float(frame["time"])
        old_workers, old_runs, old_lost = self.workers, self.runs, self.away
        had_trouble = self.trouble["since"] is not None
        self.trouble = {"since": None, "text": ""}
        if frame["full"]:
            self._workers.clear()
            self._runs.clear()
            self.samples.clear()
            self.events.clear()
            self.samples.extend(frame["samples"])
        self._merge(frame)
        for run in self._runs.values():
            run.tick(now)
        self.samples.append(frame["sample"])
        while now - self.samples[0][0] > SPAN_S:
            self.samples.popleft()
        self.events.extend(frame["events"])
        self.workers = {name: worker(row, now) for name, row in self._workers.items()}
        self.runs = {name: run.row(now) for name, run in self._runs.items()}
        self.away = went_away(old_lost, old_workers, self.workers, now)
        self.is_known = True
        if frame["full"] or had_trouble:
            return self.snapshot()
        news = {"time": now, "totals": self.totals(), "sample": frame["sample"], "events": frame["events"]}
        news["workers"], news["gone"] = differences(old_workers, self.workers)
        news["runs"], news["forgotten"] = differences(old_runs, self.runs)
        return news if self.away == old_lost else news | {"lost": self.away}

    def _merge(self, frame: Row) -> None:
        for name, row in frame["workers"].items():
            self._workers.setdefault(name, {}).update(row)
        for name in frame["gone"]:
            self._workers.pop(name, None)
        for name, row in frame["runs"].items():
            self._runs.setdefault(name, Run()).summary.update(row)
        for name in frame["forgotten"]:
            self._runs.pop(name, None)
        for name, stories in frame["stories"].items():
            for news in stories:
                if name in self._runs:
                    self._runs[name].story.merge(news)

    # ---- what people read

    def story(self, run: str) -> RunTrace | None:
        """Return a run's story; None for a run that is not known here."""
        found = self._runs.get(run)
        return None if found is None else found.story

    def totals(self) -> Row:
        """Return the sums over all workers and runs."""
        slots = sum(row["slots"] for row in self.workers.values())
        busy = sum(len(row["lights"]) for row in self.workers.values())
        runs = [row for row in self.runs.values() if not row["ended"]]
        names = ("waiting", "running")
        found: Row = {name: sum(row[name] for row in runs) for name in names}
        found |= {name: sum(row[name] for row in self.runs.values()) for name in ("done", "failed")}
        found |= {"workers": len(self.workers), "slots": slots, "busy": busy, "runs": len(runs)}
        return found | {"rate": round(sum(row["rate"] for row in runs), 1)}

    def snapshot(self) -> Row:
        """Return everything, for somebody who knows nothing."""
        found = {"full": True, "time": self.now, "totals": self.totals(), "workers": self.workers, "runs": self.runs}
        found["lost"] = self.away
        return found | {"samples": list(self.samples), "events": list(self.events), "trouble": self.trouble}


def worker(row: Row, now: float) -> Row:
    """Return a worker for people."""
    found = {key: row.get(key) for key in FACTS}
    return found | {"lights": row.get("lights") or [], "badges": explain.badges(row, now)}


def went_away(known: Table, before: Table, here: Table, now: float) -> Table:
    """Return the workers that went away lately and are not ``here``, the latest first."""
    fresh = {
        name: {"name": name, "since": now, "slots": row["slots"], "address": row["address"]}
        for name, row in before.items()
        if name not in here
    }
    rows = fresh | {name: row for name, row in known.items() if name not in here and now - row["since"] < LOST_S}
    return dict(sorted(rows.items(), key=lambda item: -item[1]["since"])[:LOST])


def differences(old: Table, new: Table) -> tuple[Table, list[str]]:
    """Return rows that are new or have changed, whole, and the names of those that are gone."""
    return {name: row for name, row in new.items() if old.get(name) != row}, [n for n in old if n not in new]
