"""What becomes of jobs whose process has died or whose worker was lost: they start again elsewhere, or they fail.

Decisions only: the time is an argument, and nothing is read or written here.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from octapi.client.item_range import ItemRange
from octapi.client.job_errors import ENDED_WORKER, WENT_AWAY, autopsy_error, lost_error
from octapi.errors import Attempt
from octapi.protocol import outcome
from octapi.protocol.exits import KilledFor, exit_phrase, is_own_end
from octapi.protocol.outcome import SILENT

if TYPE_CHECKING:
    from octapi.client.batch import AnyBatch, Entry
    from octapi.client.core import Core


class FailedAttempts:
    """Counts attempts that came to nothing, and says which jobs start again."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def autopsy(self, batch: AnyBatch, index: int, info: dict[str, Any], now: float) -> Entry | None:
        """Return the one job that ran when its slot died if it may start once more elsewhere; else it fails."""
        payload = batch.payload(index)
        if payload is None:
            return None
        name = batch.worker or ""
        kind, data = outcome.CANCELLED, b""
        if info.get("why") != KilledFor.CANCELLED:
            if info.get("why") != KilledFor.TIMEOUT:
                attempt = Attempt(name, exit_phrase(info), now)
                others = 0 if is_own_end(info) else self._others(batch, index)
                again = batch.died(index, attempt, self._core.crash_workers, others)
                if again is not None:
                    self._core.recorder.story.count("retried")
                    return again
            error = autopsy_error(batch.queue.computation, payload, name, info, batch.past(index))
            kind, data = outcome.FAULT, pickle.dumps(error)
        worker, ran_s = self._core.infos.get(name), info.get("ran_s", 0.0)
        place = worker, batch.queue.computation.name
        self._core.run_safely(self._core.recorder.unrun, place, (kind, data), ran_s, payload)
        batch.settle(index, kind, data, now - ran_s, now, worker)
        return None

    def _others(self, batch: AnyBatch, index: int) -> int:
        """Return on how many workers a job could run where it has not been."""
        been = {attempt.worker for attempt in batch.past(index)} | {batch.worker}
        return sum(worker.name not in been for worker in self._core.usable(batch.queue))

    def lost(self, batch: AnyBatch, worker: str, now: float) -> list[Entry]:
        """Return what of a batch that was lost with its worker starts again; what may not fails.

        The job that ran when the worker's process ended may be the reason: it is tried on few more.
        """
        suspect = self._suspect(batch, worker, now)
        again, failed = batch.lost(Attempt(worker, WENT_AWAY, now))
        if suspect is not None:
            again = [suspect, *without(again, suspect)]
        for index in failed:
            self._fail(batch, index, worker, now)
        return again

    def _suspect(self, batch: AnyBatch, worker: str, now: float) -> Entry | None:
        """Return the job that ran when its worker's process ended, if it may run again; else it fails."""
        was_silent = self._core.went.get(worker, SILENT) == SILENT
        if batch.worker != worker or was_silent or batch.payload(batch.current) is None:
            return None
        index = batch.current
        past = batch.past(index)
        guiltless = {attempt.worker for attempt in past if attempt.cause == WENT_AWAY}
        guiltless -= {worker} | {attempt.worker for attempt in past if attempt.cause != WENT_AWAY}
        most = self._core.crash_workers + len(guiltless)
        again = batch.died(index, Attempt(worker, ENDED_WORKER, now), most, max(1, self._others(batch, index)))
        if again is None:
            self._fail(batch, index, worker, now)
        return again

    def _fail(self, batch: AnyBatch, index: int, worker: str, now: float) -> None:
        """Fail a job that was lost with its worker."""
        payload = batch.payload(index) or b""
        error = lost_error(batch.queue.computation, payload, worker, batch.past(index), batch.most(index))
        data = pickle.dumps(error)
        place = self._core.infos.get(worker), batch.queue.computation.name
        self._core.run_safely(self._core.recorder.unrun, place, (outcome.FAULT, data), 0.0, payload)
        batch.settle(index, outcome.FAULT, data, 0.0, now, self._core.infos.get(worker))


def without(entries: list[Entry], suspect: Entry) -> list[Entry]:
    """Return what a lost batch gives back, without the one job that goes its own way."""
    if not isinstance(suspect, ItemRange):
        return entries
    found: list[Entry] = []
    for entry in entries:
        if isinstance(entry, ItemRange) and entry.start <= suspect.start < entry.stop:
            parts = (entry.start, suspect.start), (suspect.stop, entry.stop)
            found += [entry.piece(start, stop) for start, stop in parts if start < stop]
        else:
            found.append(entry)
    return found
