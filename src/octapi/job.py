"""One call of a function on the cluster: a :class:`concurrent.futures.Future` that knows more."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures._base as states
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from octapi.client.callbacks import safely
from octapi.client.pending_job import PendingJob
from octapi.errors import JobError, RemoteTraceback, ResultNotPicklable, StillWaiting
from octapi.pickling import loads_error, loads_result
from octapi.protocol import outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from octapi.client.lifetime import Lifetime
    from octapi.protocol.outcome import Extra, WorkerInfo
    from octapi.protocol.wire import Buffer

T = TypeVar("T")


class Job(concurrent.futures.Future[T]):
    """The future of one job.

    Besides what a future has: ``stdout`` and ``stderr`` (str), ``worker`` (its name, or None),
    ``started`` and ``ended`` (epoch seconds, or None), ``memory`` (peak of its slot's process in
    bytes, 0 if unknown), ``files`` (paths of what it sent home).  :meth:`cancel` stops a job even when it runs.
    """

    _done_callbacks: list[Callable[[Job[T]], None]]

    def __init__(self, life: Lifetime | None = None) -> None:
        super().__init__()
        self._life = life
        self.stdout = ""
        self.stderr = ""
        self.worker: str | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.memory = 0
        self.files: list[Path] = []
        self._ticket: JobTicket | None = None

    def _invoke_callbacks(self) -> None:
        """Run the callbacks: here if the script itself ended the job, else apart from the thread that brought it."""
        life, self._life = self._life, None
        if life is not None and self._done_callbacks and life.is_engine_thread():
            self._hand_over(life)
            return
        if life is not None:
            life.ended(self)
        if self._done_callbacks:
            super()._invoke_callbacks()  # type: ignore[misc]

    def _hand_over(self, life: Lifetime) -> None:
        later = []
        for callback in self._done_callbacks:
            if getattr(callback, "__module__", None) == "asyncio.futures":  # it wakes a loop, and nothing else
                safely(partial(callback, self))
            else:
                later.append(callback)
        for callback in later:
            life.callbacks.put(partial(callback, self))
        life.ended(self)  # last: whoever waits for the open jobs waits for their callbacks next

    def result(self, timeout: float | None = None) -> T:
        """Wait for the job, ``timeout`` seconds at most, and return its value or raise what it raised.

        Raises TimeoutError when it is not done by then, as :exc:`octapi.errors.StillWaiting` if it cannot start.
        """
        try:
            return super().result(timeout)
        except TimeoutError:
            late = self._late(timeout)
            if late is None:
                raise
        raise late

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait as :meth:`result` does, and return what the job raised, or None."""
        try:
            return super().exception(timeout)
        except TimeoutError:
            late = self._late(timeout)
            if late is None:
                raise
        raise late

    def _late(self, timeout: float | None) -> StillWaiting | None:
        """Return the error for a job that cannot start; None for one that runs, or raised the error itself."""
        queue = None if self.done() or self.running() or self._ticket is None else self._ticket.queue
        why = None if queue is None else queue.why_waiting()
        return None if why is None else StillWaiting(f"The job is not done after {timeout:g} s: {why}")

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
        if done and self._ticket is not None and self._ticket.queue is not None:
            self._ticket.queue.cancel(self._ticket)
        return done


class JobTicket(PendingJob):
    """The engine's view of a :class:`Job`."""

    __slots__ = ("job",)

    def __init__(self, payload: bytes, job: Job[Any], *, worker: str | None = None, retries: int = 2) -> None:
        super().__init__(payload, worker=worker, retries=retries)
        #: None once it has its outcome: its batch may be on its way for long
        self.job: Job[Any] | None = job

    def begun(self, worker: WorkerInfo, started: float) -> None:
        """Set the future to running, if it was not cancelled."""
        job = self.job
        if job is not None and job._state == states.PENDING:
            job.worker, job.started = worker.name, started
            job.set_running_or_notify_cancel()

    def resolve(
        self, kind: int, data: Buffer, started: float, ended: float, worker: WorkerInfo | None, extra: Extra | None
    ) -> None:
        """Set the future's result or exception, and let go of it."""
        job = self.job
        if job is not None:
            settle(job, kind, data, (started, ended), worker, extra)
            self.job = None

    def broken(self, error: JobError) -> None:
        """End with an error when the outcome could not be handed over."""
        job, self.job = self.job, None
        if job is not None and not job.done() and claim(job):
            job.set_exception(error)


def settle(
    job: Job[Any], kind: int, data: Buffer, times: tuple[float, float], worker: WorkerInfo | None, extra: Extra | None
) -> None:
    """Set a future's result or exception; ``times`` are its start and end, in seconds of the epoch, 0 if unknown."""
    started, ended = times
    if worker is not None:
        job.worker, job.started, job.ended = worker.name, started or job.started, ended or None
    if extra is not None:
        job.stdout, job.stderr = extra.texts()
        job.memory = extra.memory
    if not claim(job):
        return
    if kind == outcome.VALUE and not data:
        job.set_result(None)
        return
    try:
        value, error = read(kind, data)
    except BaseException as why:  # also SystemExit: what is unpickled may call anything
        text = f"Its result cannot be unpickled here: {type(why).__name__}: {why}"
        value, error = None, ResultNotPicklable(text, worker=job.worker or "")
    if error is not None:
        job.set_exception(error)
    else:
        job.set_result(value)


def claim(job: Job[Any]) -> bool:
    """Bring a future to the state in which its outcome can be set; False if it was cancelled."""
    if job._state == states.RUNNING:
        return True
    if job._state == states.CANCELLED_AND_NOTIFIED:
        return False
    return job.set_running_or_notify_cancel()


def read(kind: int, data: Buffer) -> tuple[Any, BaseException | None]:
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
