"""The master's book: what the gateway writes down of runs and nodes, and finds again after a restart.

It decides nothing about jobs.  Where there is no state directory, or it cannot be used, everything works but is
forgotten when the master ends.
"""

from __future__ import annotations

import contextlib
import logging
import time
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from octapi.errors import StateError
from octapi.settings import Settings
from octapi.store import location, runs
from octapi.store.outcomes import Outcomes, too_old
from octapi.store.reader import Reader
from octapi.store.runs import Run
from octapi.store.trace_table import TraceTable
from octapi.store.workers import WorkerHistory
from octapi.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from pathlib import Path

log = logging.getLogger("octapi.master.gateway")

#: how often the counts of a run are written while nothing else of it changes, in seconds
COUNTS_S = 30.0
#: how many runs that are over are known without looking into the database, which is written a little later
REMEMBERED = 200
#: how long the database may take to open when the master starts, in seconds
OPEN_S = 10.0


class NullRegistry(Writer):
    """A writer without a database: it takes everything, and keeps nothing."""

    def __init__(self, why: str = "") -> None:
        self.trouble = why
        self.dropped = 0

    def put(
        self,
        statement: str,
        values: tuple[Any, ...],
        key: Any = None,
        *,
        lazily: bool = False,
        is_lasting: bool = False,
    ) -> None:
        """Forget it."""

    @property
    def is_full(self) -> bool:
        """Say that it takes more."""
        return False

    def flush(self) -> Future[None]:
        """Say that nothing is safe."""
        promise: Future[None] = Future()
        promise.set_exception(StateError(self.trouble or "This master keeps nothing on disk."))
        return promise

    def close(self, patience_s: float = 0.0) -> None:
        """Do nothing."""


class RunRegistry:
    """Runs that are open, and the way to the database.

    ``open_runs`` holds every run that is running or gone, by id.  ``now`` returns the cluster's time in epoch seconds.
    """

    def __init__(
        self,
        state: Path | None,
        now: Callable[[], float] = time.time,
        settings: Settings | None = None,
    ) -> None:
        self.now = now
        self.settings = settings or Settings()
        self.open_runs: dict[str, Run] = {}
        self._over: dict[str, Run] = {}
        self._parts: dict[str, dict[Hashable, Mapping[str, Any]]] = {}
        self._written: dict[str, float] = {}
        self.reader: Reader | None = None
        self.writer: Writer = NullRegistry()
        if state is not None:
            self._open(state)
        self.nodes = WorkerHistory(self.writer)
        self.story = TraceTable(self.writer)
        self.outcomes = Outcomes(self.writer)
        if self.reader is not None:
            self._take_up()

    def _open(self, state: Path) -> None:
        path = location.database(state)
        self.writer = Writer(path, self._trouble, log.warning)
        with contextlib.suppress(StateError, TimeoutError):  # it was said, and is tried again
            self.writer.flush().result(OPEN_S)
        self.reader = Reader(path)

    def _trouble(self, text: str) -> None:
        if text:
            log.warning(f"{text} Runs go on, but history and outcomes of clients that go away are in memory only.")
        else:
            log.info("the database can be written again.")

    @property
    def trouble(self) -> str:
        """Return what is wrong with the database in words; an empty text if nothing is."""
        return self.writer.trouble

    def _take_up(self) -> None:
        """Find what the last master left: runs that ran are interrupted, those that are gone still wait."""
        assert self.reader is not None
        try:
            left = self.reader.runs(limit=100_000, states=(runs.RUNNING, runs.GONE))
        except StateError:
            return
        for run in left:
            self.open_runs[run.id] = run
            self.move(run.id, "master ended", error="The master ended meanwhile.")
        self.nodes.master_started(self.now())
        self.forget_old()

    def forget_old(self) -> list[str]:
        """Drop outcomes that waited too long, and runs that are too old; return the runs whose outcomes were."""
        if self.reader is None:
            return []
        now, day_s = self.now(), 86400.0
        try:
            waiting = self.reader.ended((runs.GONE,))
            oldest = [(ident, ended) for ident, ended in self.reader.ended(runs.STATES) if ident not in self.open_runs]
        except StateError:
            return []
        dropped = too_old(waiting, now, self.settings.keep_days * day_s)
        for ident in dropped:
            self.outcomes.drop(ident)
            self.move(ident, "aged", error=f"Its outcomes waited {self.settings.keep_days:g} days.", kept=0)
        for ident in too_old(oldest, now, self.settings.history_days * day_s):
            self.outcomes.drop(ident)
            self.outcomes.drop_history(ident)
            self._over.pop(ident, None)
        return dropped

    # ---- runs

    def new_id(self, wanted: Any = None, may: Callable[[Run], bool] = lambda _: False) -> str:
        """Return the id for a run: the one its client asks for if it is free or ``may(run)``, else a new one."""
        if isinstance(wanted, str) and runs.IDENT.fullmatch(wanted):
            known = self.find(wanted)
            if known is None or may(known):
                return wanted
        found = runs.new_id(self.now())
        while self.find(found) is not None:
            found = runs.new_id(self.now())
        return found

    def find(self, ident: str) -> Run | None:
        """Return a run, open or not; None if there is none, or the database cannot be read."""
        known = self.open_runs.get(ident) or self._over.get(ident)
        if known is not None or self.reader is None:
            return known
        try:
            return self.reader.run(ident)
        except StateError:
            return None

    def alike(self, wanted: str) -> list[str]:
        """Return the ids of the runs that a person may mean."""
        found = runs.found(wanted, list(self._over | self.open_runs))
        if self.reader is not None:
            with contextlib.suppress(StateError):
                found += self.reader.alike(wanted)
        return [wanted] if wanted in found else sorted(set(found))

    def begin(self, ident: str, facts: Mapping[str, Any], owner: str, slots: int) -> Run:
        """Write down that a client with this run has begun to work, or works again."""
        known = self.find(ident)
        if known is None:
            return self.save(new_run(ident, facts, owner, self.now(), slots))
        return self.move(ident, "back") or known

    def count(self, ident: str, summary: Mapping[str, Any], slots: int, client: Hashable = 0) -> None:
        """Take what one client of a run says of its jobs."""
        run = self.open_runs.get(ident)
        if run is None:
            return
        parts = self._parts.setdefault(ident, {})
        parts[client] = summary
        due = self.now() - self._written.get(ident, 0.0) >= COUNTS_S
        self.save(runs.counted(run, runs.together(parts.values()), slots), lazily=not due)

    def client_event(self, ident: str, event: str) -> None:
        """A client of a run came, went or said goodbye; a submitted run is as its script is, whatever clients do."""
        run = self.find(ident)
        if run is not None and run.kind == runs.ATTACHED:
            self.move(ident, event)

    def move(self, ident: str, event: str, **facts: Any) -> Run | None:
        """Let something happen to a run, as :data:`octapi.store.runs.MOVES` allows; None if there is no such run."""
        run = self.find(ident)
        if run is None or not runs.may(run, event):
            return run
        return self.save(runs.moved(run, event, self.now(), **facts))

    def save(self, run: Run, *, lazily: bool = False) -> Run:
        """Keep a run."""
        if run.is_over:
            self.open_runs.pop(run.id, None)
            self._written.pop(run.id, None)
            self._parts.pop(run.id, None)
            self._over.pop(run.id, None)
            self._over[run.id] = run
            while len(self._over) > REMEMBERED:
                del self._over[next(iter(self._over))]
        else:
            self.open_runs[run.id] = run
            self._over.pop(run.id, None)
            if not lazily:
                self._written[run.id] = self.now()
        self.writer.put(runs.SAVE, run.row(), ("runs", run.id), lazily=lazily, is_lasting=True)
        return run

    def kept(self, ident: str, more: int | None, dropped: int = 0) -> None:
        """Count messages of a run that wait to be fetched; None for that nothing waits any more."""
        run = self.find(ident)
        if run is not None:
            kept = 0 if more is None else run.kept + more
            self.save(replace(run, kept=kept, dropped=run.dropped + dropped), lazily=True)

    def last_seen(self, here: set[str]) -> dict[str, float]:
        """Return when workers that are not ``here`` were seen last, in epoch seconds; none without a history."""
        if self.reader is None:
            return {}
        try:
            return {row["name"]: row["last_seen"] for row in self.reader.nodes() if row["name"] not in here}
        except StateError:
            return {}

    def recent(self, limit: int = 100) -> list[Run]:
        """Return the latest runs, open ones as they are now."""
        found = self._over | self.open_runs
        if self.reader is not None:
            with contextlib.suppress(StateError):  # the trouble was said
                found = {run.id: run for run in self.reader.runs(limit)} | found
        return sorted(found.values(), key=lambda run: run.id, reverse=True)[:limit]

    def close(self) -> None:
        """Write down what is left, and end."""
        self.writer.close()


def new_run(ident: str, facts: Mapping[str, Any], owner: str, now: float, slots: int) -> Run:
    """Return a run as its client describes it; every text is cut to a length that fits."""
    token = facts.get("token")
    return Run(
        ident,
        script=text_of(facts, "script"),
        arguments=tuple(str(part)[:200] for part in list(facts.get("arguments") or ())[:50]),
        user=text_of(facts, "user"),
        host=text_of(facts, "host"),
        owner=owner,
        secret=runs.digest(token) if isinstance(token, str) and token else "",
        release=text_of(facts, "release"),
        python=text_of(facts, "python"),
        submitted=now,
        started=now,
        slots=slots,
    )


def text_of(facts: Mapping[str, Any], key: str) -> str:
    """Return what a client says of itself as a text that fits."""
    return str(facts.get(key) or "")[:200]
