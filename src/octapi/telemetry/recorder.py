"""Turns outcomes of jobs into the run's :class:`~octapi.telemetry.run_trace.RunTrace`, as cheaply as can be.

A batch of plain outcomes costs one call; only what failed, printed or is one of the first jobs costs one each.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from octapi.pickling.arguments import shortened
from octapi.protocol import outcome
from octapi.telemetry import failures
from octapi.telemetry.run_trace import CANCELLED, FAILED, OK, RunTrace

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.protocol.outcome import Extra, WorkerInfo
    from octapi.telemetry.failures import Failure

#: outcomes that are failures
FAILURES = (outcome.ERROR, outcome.FAULT)
#: the error of a job that somebody stopped
STOPPED = "JobStopped"


class RunRecorder:
    """Writes one dispatcher's story.  ``now`` is its clock, in epoch seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.story = RunTrace(now())

    def job(
        self,
        place: tuple[WorkerInfo | None, str],
        result: tuple[int, bytes],
        when: tuple[float, float],
        extra: Extra | None,
        payload: Callable[[], bytes | None],
        jobs: int = 1,
    ) -> str:
        """Tell of a job of ``(worker, function)`` that failed, printed, or is one of few; return how it ended.

        ``result`` is its kind and data, ``when`` its start (epoch seconds by the worker's clock, 0 for unknown) and its
        seconds.
        """
        worker, function = place
        name = worker.name if worker is not None else ""
        found = failures.read(*result) if result[0] in FAILURES else None
        word = word_of(result[0], found)
        if self.story.is_few:
            now = self._now()
            start = when[0] - self.story.hear(name, sum(when), now) if when[0] > 0 else now - when[1]
            self.story.piece(start, when[1], name, function, word, jobs)
        if extra is not None:
            for text, stream in zip(extra.texts(), ("out", "err"), strict=True):
                if text:
                    self.story.printed(name, function, text, stream)
        if word == FAILED and found is not None:
            self.failure(name, function, found, payload, extra)
        elif word == CANCELLED:
            self.story.count("cancelled")
        return word

    def failure(
        self,
        worker: str,
        function: str,
        found: Failure,
        payload: Callable[[], bytes | None],
        extra: Extra | None = None,
        jobs: int = 1,
    ) -> None:
        """Count failures by their cause, and keep the first of each."""
        example = self.story.cause(failures.key_of(function, found), jobs)
        if example is None:
            return
        printed = "".join(text[-1000:] for text in extra.texts()) if extra is not None else ""
        data = payload()
        arguments = shortened(data) if data is not None else ""
        example.update({"function": function, "worker": found.get("worker") or worker, "at": self._now()})
        example.update({"kind": found["kind"], "message": found["message"], "line": found["line"]})
        example.update({"traceback": found["traceback"], "output": found.get("output") or printed})
        example["arguments"] = arguments

    def batch(
        self, place: tuple[WorkerInfo | None, str], when: tuple[float, float], jobs: int, failed: int, busy_s: float
    ) -> None:
        """Tell of jobs of one batch that ended between two moments of the worker's clock; 0 is an unknown one."""
        if jobs:
            worker, function = place
            name = worker.name if worker is not None else ""
            now = self._now()
            if min(when) <= 0:
                self.story.took(name, function, now - busy_s, now, jobs, failed, busy_s)
                return
            ahead = self.story.hear(name, when[1], now)
            self.story.took(name, function, when[0] - ahead, when[1] - ahead, jobs, failed, busy_s)

    def unrun(
        self, place: tuple[WorkerInfo | None, str], result: tuple[int, bytes], ran_s: float, payload: bytes
    ) -> None:
        """Tell of a job that failed by its process or its worker, ``ran_s`` seconds after it began."""
        worker, now = place[0], self._now()
        if result[0] == outcome.CANCELLED:
            self.story.count("cancelled")
            return
        name = worker.name if worker is not None else ""
        self.story.took(name, place[1], now - ran_s, now, 1, 1, ran_s)
        self.story.piece(now - ran_s, ran_s, name, place[1], FAILED)
        self.failure(name, place[1], failures.read(*result), lambda: payload)

    def refused(self, function: str, data: bytes, jobs: int) -> None:
        """Tell of jobs that no worker could take."""
        if jobs:
            self.story.count("failed", jobs)
            self.failure("", function, failures.read(outcome.FAULT, data), lambda: None, jobs=jobs)


def word_of(kind: int, found: Failure | None) -> str:
    """Return how a job ended: one that somebody stopped while it ran did not fail."""
    if kind == outcome.CANCELLED or (kind == outcome.FAULT and found is not None and found["kind"] == STOPPED):
        return CANCELLED
    return FAILED if kind in FAILURES else OK
