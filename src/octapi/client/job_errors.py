"""From what an agent saw of a death to an error that says cause and place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from octapi.errors import (
    BatchRefused,
    FileNotWritten,
    HandlingFailed,
    JobCrashed,
    JobError,
    JobTimeout,
    PythonMismatch,
    SetupFailed,
    WorkerLost,
)
from octapi.pickling.arguments import shortened
from octapi.protocol.exits import KilledFor, exit_phrase
from octapi.text.stderr import story_of

if TYPE_CHECKING:
    from octapi.errors import Attempt
    from octapi.protocol.computation import Computation
    from octapi.protocol.outcome import WorkerInfo

#: the cause of an attempt that is lost with its worker
WENT_AWAY = "its worker went away"
#: the cause of one during which its worker's connection ended at once, as it does when the worker's process dies
ENDED_WORKER = "its worker's process ended"


def autopsy_error(
    computation: Computation, payload: bytes, worker: str, info: dict[str, Any], past: tuple[Attempt, ...] = ()
) -> JobError:
    """Return the error for a job whose process died under it."""
    facts = {
        "function": computation.name,
        "arguments": shortened(payload),
        "worker": worker,
        "stderr": info.get("stderr", ""),
    }
    if info.get("why") == KilledFor.TIMEOUT:
        return JobTimeout(f"It ran longer than its limit of {computation.timeout_s} s and was stopped.", **facts)
    error = JobCrashed(f"Its process {exit_phrase(info)} after {info.get('ran_s', 0.0):.1f} s.", **facts)
    error.signal, error.exit_code = info.get("signal"), info.get("exit_code")
    error.memory, error.is_out_of_memory = info.get("memory", 0), bool(info.get("out_of_memory"))
    error.attempts = past
    return error


def lost_error(computation: Computation, payload: bytes, worker: str, past: tuple[Attempt, ...], most: int) -> JobError:
    """Return the error for a job whose worker went away; ``most`` is how often it may start."""
    text = f"Its worker went away while it had the job (attempt {len(past)} of {most})."
    ended = [attempt.worker for attempt in past if attempt.cause == ENDED_WORKER]
    if len(past) < most and len(ended) > 1:
        text += f" It ran each time when a worker's process ended ({', '.join(ended)}), so it is not started again."
    error = WorkerLost(
        text,
        function=computation.name,
        arguments=shortened(payload),
        worker=worker,
    )
    error.attempts = past
    return error


def handling_error(error: BaseException, function: str = "") -> JobError:
    """Return the error for jobs whose handling here has raised one."""
    if isinstance(error, JobError):
        return error
    text = (
        f"It could not be handled here: {type(error).__name__}: {error}. What it gave back may be lost; the other jobs "
        f"go on. Where it happened:\n{story_of(error)}"
    )
    return HandlingFailed(text, function=function, arguments="...")


def file_error(path: str, error: BaseException, function: str, worker: str) -> JobError:
    """Return the error for a job whose file cannot be written here."""
    text = (
        f"The file {path} that it sent home cannot be written here: {type(error).__name__}: {error}. "
        "Choose another place with files_to, or make room there."
    )
    return FileNotWritten(text, function=function, arguments="...", worker=worker)


def batch_error(text: str, function: str, worker: str) -> JobError:
    """Return the error for a batch that its worker cannot use."""
    return BatchRefused(
        f"What was sent for it cannot be used: {text}", function=function, arguments="...", worker=worker
    )


def refused_error(computation: Computation, refusals: dict[str, str]) -> JobError:
    """Return the error for jobs that no worker can run."""
    name, text = next(iter(refusals.items()))
    return SetupFailed(
        f"No worker could load or set up the function; {name} says:\n{text}", function=computation.name, arguments="..."
    )


def mismatch_error(computation: Computation, workers: list[WorkerInfo]) -> JobError:
    """Return the error for jobs whose bytecode no worker's Python can load."""
    others = ", ".join(sorted({f"{worker.name} {worker.python}" for worker in workers}))
    return PythonMismatch(
        f"It travels as bytecode of Python {computation.python}, which no worker can load: {others}. "
        "Put the function into a module beside the script, which travels as source, or use the same Python.",
        function=computation.name,
        arguments="...",
    )
