"""The story of a run, in bounded space: who did what and when, what failed and why, and what was printed.

The dispatcher writes it, and sends what is new about once a second (:meth:`Story.changes`); the master and whoever
looks read it by :meth:`Story.merge`.  While a run is small its jobs are kept one by one; then only sums for each
worker and bucket of time, whose width doubles when there are too many.  So ten million jobs take no more room than ten
thousand.  No input or output and no clock here; all times are epoch seconds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, cast, get_args

from octapi.telemetry.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

from octapi.protocol.trace_bounds import BUCKETS, CAUSES, FEW, LINES, NAMES

FIRST_WIDTH_S: Final = 1.0

#: how often the master hears of a client while nobody looks, in seconds
PACE_S: Final = 1.0

#: what of a cause of failure only those read who may see the run's output
PRIVATE: Final = ("arguments", "traceback", "output")

OK, FAILED, CANCELLED = "ok", "failed", "cancelled"

#: before it no run of OctaPi began: a moment that lies before was none (epoch seconds)
EARLIEST: Final = 1e9

#: one job, or a few that travelled together: start and seconds, worker, function, outcome, how many
Piece = list[Any]


class Cause(Failure, total=False):
    """Failures of one kind: how many, and the first of them, which began ``at`` (epoch seconds)."""

    key: str
    count: int
    function: str
    arguments: str
    at: float


class Totals(TypedDict):
    """A run in numbers; times are epoch seconds."""

    began: float
    first: float | None
    last: float | None
    width_s: float
    done: int
    failed: int
    cancelled: int
    retried: int
    is_few: bool
    unheard: int
    busy_s: float


class TraceNews(Totals, total=False):
    """What :meth:`RunTrace.changes` and :meth:`RunTrace.plain` tell: sums and rows as plain lists.

    ``anew``: the buckets replace those that there were; ``whole``: all of it replaces what there was.
    """

    workers: list[list[Any]]
    functions: list[list[Any]]
    buckets: list[list[Any]]
    causes: list[Cause]
    pieces: list[Piece]
    output: list[list[str]]
    anew: bool
    whole: bool


Text = Literal["key", "function", "line", "kind", "message", "arguments", "worker", "traceback", "output"]
#: what of a cause is text
TEXTS: Final[tuple[Text, ...]] = get_args(Text)


class Sum:
    """Jobs that ended well, that failed, and the seconds that a slot worked for them."""

    __slots__ = ("busy_s", "failed", "jobs")

    def __init__(self, jobs: int = 0, failed: int = 0, busy_s: float = 0.0) -> None:
        self.jobs = jobs
        self.failed = failed
        self.busy_s = busy_s

    def add(self, jobs: int, failed: int, busy_s: float) -> None:
        """Count more."""
        self.jobs += jobs
        self.failed += failed
        self.busy_s += busy_s

    def row(self) -> list[int | float]:
        """Return it as a list of plain numbers."""
        return [self.jobs, self.failed, round(self.busy_s, 4)]


class RunTrace:
    """One run's story; times in it count from ``began``."""

    def __init__(self, began: float = 0.0) -> None:
        self.began = began
        self.first: float | None = None
        self.last: float | None = None
        self.width_s = FIRST_WIDTH_S
        self.done = 0
        self.failed = 0
        self.cancelled = 0
        self.retried = 0
        self.busy_s = 0.0
        self.workers: dict[str, Sum] = {}
        self.functions: dict[str, Sum] = {}
        self.buckets: dict[tuple[str, int], Sum] = {}
        self.pieces: list[Piece] = []
        self.is_few = True
        self.causes: dict[str, Cause] = {}
        self.output: deque[list[str]] = deque(maxlen=LINES)
        self.unheard = 0
        self._ahead: dict[str, float] = {}
        self._forget()

    def _forget(self) -> None:
        """Take note that everything so far was told."""
        self._told_width = self.width_s
        self._new_pieces: list[Piece] = []
        self._new_lines: list[list[str]] = []
        self._changed: set[Any] = set()
        self._is_changed = False
        self._is_anew = False

    def retell(self) -> None:
        """Let the next report be the whole story: somebody may have missed a part."""
        self._is_changed = self._is_anew = True

    # ---- what the dispatcher tells

    def hear(self, worker: str, ended: float, now: float) -> float:
        """Return by how much a worker's clock is ahead of this one, as far as its messages tell, in seconds.

        Messages take a moment, so only what is impossible or more than a moment is believed.
        """
        ahead = max(self._ahead.get(worker, -1e9), ended - now)
        self._ahead[worker] = ahead
        return ahead if ahead > 0.0 or ahead < -5.0 else 0.0

    def took(self, worker: str, function: str, start: float, end: float, jobs: int, failed: int, busy_s: float) -> None:
        """Jobs of one batch ended: between ``start`` and ``end`` a slot worked ``busy_s`` for them."""
        self._is_changed = True
        self.done += jobs - failed
        self.failed += failed
        self.busy_s += busy_s
        self.first = start if self.first is None else min(self.first, start)
        self.last = end if self.last is None else max(self.last, end)
        for table, key in ((self.workers, worker), (self.functions, function)):
            if key in table or len(table) < NAMES:
                table.setdefault(key, Sum()).add(jobs, failed, busy_s)
        self._changed.update((("w", worker), ("f", function)))
        self._fill(worker, start - self.began, end - self.began, (jobs, failed, busy_s))

    def _fill(self, worker: str, start: float, end: float, sums: tuple[int, int, float]) -> None:
        """Spread work over the buckets that it lay in; its jobs count in the last."""
        jobs, failed, busy_s = sums
        first, last = self._place(start), self._place(end)
        while last >= BUCKETS:
            self._widen()
            first, last = self._place(start), self._place(end)
        for place in range(first, last + 1):
            inside = min(end, (place + 1) * self.width_s) - max(start, place * self.width_s)
            share = busy_s * inside / (end - start) if end > start and first != last else busy_s
            self._bucket(worker, place).add(jobs if place == last else 0, failed if place == last else 0, share)

    def _place(self, offset_s: float) -> int:
        return max(0, int(offset_s / self.width_s))

    def _bucket(self, worker: str, place: int) -> Sum:
        self._changed.add((worker, place))
        return self.buckets.setdefault((worker, place), Sum())

    def _widen(self) -> None:
        """Make every two buckets one."""
        old, self.buckets = self.buckets, {}
        self.width_s *= 2
        self._changed = {key for key in self._changed if key[0] in ("w", "f", "c") and isinstance(key[1], str)}
        for (worker, place), found in old.items():
            self._bucket(worker, place // 2).add(found.jobs, found.failed, found.busy_s)

    def piece(self, start: float, seconds: float, worker: str, function: str, outcome: str, jobs: int = 1) -> None:
        """Keep jobs one by one while they are few."""
        if not self.is_few:
            return
        if len(self.pieces) >= FEW:
            self.is_few = False
            self.pieces.clear()
            self._new_pieces.clear()
            self._is_changed = True
            return
        row = [round(start - self.began, 4), round(seconds, 4), worker, function, outcome, jobs]
        self.pieces.append(row)
        self._new_pieces.append(row)

    def cause(self, key: str, jobs: int = 1) -> Cause | None:
        """Count failures of a cause; return its example to fill in if it is the first of its kind.

        One cause, with an empty key, stands for all that are one too many.
        """
        self._is_changed = True
        if key not in self.causes and len(self.causes) >= CAUSES:
            key = ""
        self._changed.add(("c", key))
        found = self.causes.get(key)
        if found is not None:
            found["count"] += jobs
            return None
        self.causes[key] = {"key": key, "count": jobs}
        return self.causes[key]

    def printed(self, worker: str, function: str, text: str, stream: str) -> None:
        """Keep lines of output; of many within one report only the first."""
        if len(self._new_lines) >= LINES:
            self.unheard += 1
            return
        for line in text[:4000].splitlines()[:40]:
            row = [worker[:80], function[:80], stream, line[:400]]
            self.output.append(row)
            self._new_lines.append(row)
        self._is_changed = True

    def count(self, name: str, number: int = 1) -> None:
        """Count jobs that were ``cancelled``, ``retried`` or ``failed`` without having run."""
        setattr(self, name, getattr(self, name) + number)
        self._is_changed = True

    # ---- telling others

    def _totals(self) -> Totals:
        found = {name: getattr(self, name) for name in Totals.__annotations__}
        return cast("Totals", found | {"busy_s": round(self.busy_s, 4)})

    def changes(self) -> TraceNews | None:
        """Return what is new since the last call; None for nothing."""
        if not self._is_changed:
            return None
        if self._is_anew:
            whole = self.plain()
            whole["whole"] = True
            self._forget()
            return whole
        is_wider = self._told_width != self.width_s
        keys = set(self._changed)
        if is_wider:
            keys |= set(self.buckets)
        found = self._rows(keys)
        found.update({"pieces": self._new_pieces, "output": self._new_lines, "anew": is_wider})
        self._forget()
        return found

    def plain(self) -> TraceNews:
        """Return all of it, for somebody who knows nothing."""
        keys: set[Any] = {("w", name) for name in self.workers} | {("f", name) for name in self.functions}
        keys |= set(self.buckets) | {("c", key) for key in self.causes}
        found = self._rows(keys)
        found.update({"pieces": list(self.pieces), "output": list(self.output), "anew": True})
        return found

    def _rows(self, keys: set[Any]) -> TraceNews:
        workers, functions, buckets, causes = [], [], [], []
        for key in keys:
            kind, name = key
            if isinstance(name, int):
                buckets.append([kind, name, *self.buckets[key].row()])
            elif kind == "w" and name in self.workers:
                workers.append([name, *self.workers[name].row()])
            elif kind == "f" and name in self.functions:
                functions.append([name, *self.functions[name].row()])
            elif kind == "c":
                causes.append(self.causes[name])
        rows = {"workers": workers, "functions": functions, "buckets": sorted(buckets), "causes": causes}
        return cast("TraceNews", {**self._totals(), **rows})

    # ---- hearing of others

    def merge(self, news: Mapping[str, Any]) -> None:
        """Take what another's :meth:`changes` or :meth:`plain` returned.

        It keeps the same bounds, whatever the other side sends.  Raises TypeError, ValueError or LookupError for
        anything that is no story.
        """
        if news.get("whole"):
            for part in (self.workers, self.functions, self.buckets, self.causes, self.pieces, self.output):
                part.clear()
        self._take_totals(news)
        if news["anew"]:
            self.buckets.clear()
        for name, *numbers in news["workers"][:NAMES]:
            self._take_sum(self.workers, str(name)[:80], numbers)
        for name, *numbers in news["functions"][:NAMES]:
            self._take_sum(self.functions, str(name)[:200], numbers)
        for name, place, *numbers in news["buckets"]:
            if 0 <= int(place) < BUCKETS and (str(name)[:80] in self.workers):
                self.buckets[str(name)[:80], int(place)] = Sum(*map(float, numbers))  # type: ignore[arg-type]
        for cause in news["causes"][: CAUSES + 1]:
            if str(cause["key"]) in self.causes or len(self.causes) <= CAUSES:
                self.causes[str(cause["key"])[:400]] = bounded(cause)
        if not self.is_few:
            self.pieces.clear()
        for piece in news["pieces"][: FEW - len(self.pieces)]:
            start, seconds, worker, function, outcome, jobs = piece
            row = [float(start), float(seconds), str(worker)[:80], str(function)[:200], str(outcome)[:10], int(jobs)]
            self.pieces.append(row)
        for row in news["output"][:LINES]:
            self.output.append([str(cell)[:400] for cell in row[:4]])
        self._mend()

    def _mend(self) -> None:
        """Put right what was told, or kept, with moments that are none: they made runs of decades."""
        if self.began < EARLIEST:
            return
        if self.first is not None and self.first < EARLIEST:
            self.first = self.began
        if self.last is not None and self.last < EARLIEST:
            places = [place + 1 for _, place in self.buckets]
            self.last = self.began + max(places, default=0) * self.width_s
        earliest = EARLIEST - self.began
        self.pieces = [piece for piece in self.pieces if piece[0] > earliest]

    def _take_totals(self, news: Mapping[str, Any]) -> None:
        for name in ("began", "width_s", "busy_s"):
            setattr(self, name, float(news[name]))
        for name in ("first", "last"):
            setattr(self, name, None if news[name] is None else float(news[name]))
        for name in ("done", "failed", "cancelled", "retried", "unheard"):
            setattr(self, name, int(news[name]))
        self.is_few = bool(news["is_few"])

    def _take_sum(self, table: dict[str, Sum], name: str, numbers: list[float]) -> None:
        if name in table or len(table) < NAMES:
            jobs, failed, busy_s = numbers
            table[name] = Sum(int(jobs), int(failed), float(busy_s))


def bounded(cause: Mapping[str, Any]) -> Cause:
    """Return a cause of failure with texts of bounded length and nothing else in it."""
    found = Cause(count=int(cause["count"]), at=float(cause.get("at") or 0.0))
    for name in TEXTS:
        found[name] = str(cause.get(name, ""))[: 6000 if name == "traceback" else 2000]
    return found


def without_words(news: Mapping[str, Any]) -> dict[str, Any]:
    """Return news of a story, or all of it, without what jobs printed, their arguments and their tracebacks."""
    causes = [cause for cause in news["causes"][: CAUSES + 1] if isinstance(cause, dict)]
    return {**news, "output": [], "causes": [cause | dict.fromkeys(PRIVATE, "") for cause in causes]}
