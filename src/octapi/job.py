"""One call of a function on the cluster: a :class:`concurrent.futures.Future` that knows more."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures._base as states
import pickle
from typing import TYPE_CHECKING, Any

from octapi.dispatch import ticket as outcome
from octapi.dispatch.ticket import Extra, Ticket, WorkerInfo
from octapi.errors import JobError, RemoteTraceback, ResultNotPicklable
from octapi.pickling import loads_error, loads_result

if TYPE_CHECKING:
    from pathlib import Path


class Job(concurrent.futures.Future[Any]):
    """The future of one job.

    Besides what a future has: ``stdout`` and ``stderr`` (str), ``worker`` (its name, or None),
    ``started`` and ``ended`` (epoch seconds, or None), ``memory`` (peak of its slot's process in
    bytes, 0 if unknown), ``files`` (paths of what it sent home).  :meth:`cancel` stops a job even when it runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stdout = ""
        self.stderr = ""
        self.worker: str | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.memory = 0
        self.files: list[Path] = []
        self._ticket: JobTicket | None = None

    @property
    def attempts(self) -> int:
        """How many times the job was started on a worker that was then lost."""
        return self._ticket.attempts if self._ticket is not None else 0

    def cancel(self) -> bool:
        """Take the job back; if it runs, stop its process.  False if it was done already."""
        with self._condition:
            if self._state == states.FINISHED:
                return False
            if self._state in (states.CANCELLED, states.CANCELLED_AND_NOTIFIED):
                return True
            if self._state == states.RUNNING:
                self._state = states.PENDING
        done = super().cancel()
        if done and self._ticket is not None and self._ticket.lane is not None:
            self._ticket.lane.cancel(self._ticket)
        return done


class JobTicket(Ticket):
    """The engine's view of a :class:`Job`."""

    __slots__ = ("job",)

    def __init__(self, payload: bytes, job: Job, *, worker: str | None = None, retries: int = 2) -> None:
        super().__init__(payload, worker=worker, retries=retries)
        #: None once it has its outcome: its batch may be on its way for long
        self.job: Job | None = job

    def begun(self, worker: WorkerInfo, started: float) -> None:
        """Set the future to running, if it was not cancelled."""
        job = self.job
        if job is not None and job._state == states.PENDING:
            job.worker, job.started = worker.name, started
            job.set_running_or_notify_cancel()

    def resolve(
        self, kind: int, data: bytes, started: float, ended: float, worker: WorkerInfo | None, extra: Extra | None
    ) -> None:
        """Set the future's result or exception, and let go of it."""
        job, self.job = self.job, None
        if job is None:
            return
        if worker is not None:
            job.worker, job.started, job.ended = worker.name, started or job.started, ended or None
        if extra is not None:
            job.stdout, job.stderr, job.memory = extra
        if not claim(job):
            return
        if kind == outcome.VALUE and not data:
            job.set_result(None)
            return
        try:
            value, error = read(kind, data)
        except Exception as why:
            text = f"Its result cannot be unpickled here: {type(why).__name__}: {why}"
            value, error = None, ResultNotPicklable(text, worker=job.worker or "")
        if error is not None:
            job.set_exception(error)
        else:
            job.set_result(value)


def claim(job: Job) -> bool:
    """Bring a future to the state in which its outcome can be set; False if it was cancelled."""
    if job._state == states.RUNNING:
        return True
    if job._state == states.CANCELLED_AND_NOTIFIED:
        return False
    return job.set_running_or_notify_cancel()


def read(kind: int, data: bytes) -> tuple[Any, BaseException | None]:
    """Unpickle an outcome into a value or an exception; raises what unpickling raises."""
    if kind in (outcome.VALUE, outcome.PROGRAM):
        return (loads_result(data) if data else None), None
    if kind == outcome.CANCELLED:
        return None, concurrent.futures.CancelledError()
    if kind == outcome.FAULT:
        error: JobError = pickle.loads(data)
        return None, error
    pickled, text = pickle.loads(data)
    return None, remote_error(pickled, text)


def remote_error(pickled: bytes, text: str) -> BaseException:
    """Rebuild a job's own exception; the worker's traceback becomes its cause, or that of the last of its causes."""
    try:
        error = loads_error(pickled) if pickled else None
    except Exception as why:
        text += f"(The exception itself cannot be rebuilt here: {type(why).__name__}: {why})\n"
        error = None
    if error is None:
        error = ResultNotPicklable(f"It raised an exception that cannot be rebuilt here: {last_line(text)}")
    first = last_cause(error)
    hides = first.__suppress_context__
    object.__setattr__(first, "__cause__", RemoteTraceback(text))
    object.__setattr__(first, "__suppress_context__", hides)
    return error


def last_cause(error: BaseException) -> BaseException:
    """Return the exception at the end of the chain of causes; one that leads in a circle ends where it closes."""
    seen = [error]
    while seen[-1].__cause__ is not None and all(seen[-1].__cause__ is not one for one in seen):
        seen.append(seen[-1].__cause__)
    return seen[-1]


def last_line(text: str) -> str:
    """Return the line of a traceback that says what was raised."""
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "(", "|", "+"))]
    return lines[-1] if lines else "an exception"
