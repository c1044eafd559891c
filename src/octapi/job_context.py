"""What a job may call while it runs on a worker."""

from __future__ import annotations

from typing import Any

from octapi.errors import OctapiError

#: set in a slot's own process, which runs one job at a time; nobody else has one
_slot: Any = None


def send_file(path: str) -> None:
    """Send a file home: it arrives under its path relative to the job's working directory, else under its name.

    The client finds it in ``files`` of the job.  Raises OSError when it cannot be read, and
    :exc:`octapi.OctapiError` outside a job.
    """
    if _slot is None:
        raise OctapiError("send_file() works inside a job only; there is no job here.")
    _slot.send_home(path)


def job_id() -> str:
    """Return what names the running job: the same each time it is started, and no other job's, in any cluster.

    A job that has effects outside can leave it there, and so find out whether an earlier start got that far.
    Raises :exc:`octapi.OctapiError` outside a job.
    """
    if _slot is None:
        raise OctapiError("job_id() works inside a job only; there is no job here.")
    found: str = _slot.job_id()
    return found
