"""From what a job returned or raised to bytes that can travel."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path
from typing import Any, Final

from octapi.dispatch import ticket
from octapi.errors import JobExited, JobStopped, OutputTooLarge, ResultNotPicklable
from octapi.pickling import dumps_error, dumps_result

#: frames of these files are not the user's
OURS: Final = frozenset(
    str(Path(__file__).with_name(name)) for name in ("slot.py", "loader.py", "work.py", "jobprocess.py", "text.py")
)


def failure(error: BaseException) -> tuple[int, bytes]:
    """Turn what a job raised into an outcome that can travel."""
    if isinstance(error, SystemExit):
        return fault(JobExited(f"The job called sys.exit({error.code!r})."))
    if isinstance(error, KeyboardInterrupt):
        return fault(JobStopped("The job was interrupted."))
    if isinstance(error, OutputTooLarge):
        return fault(error)
    text = traceback_text(error)
    try:
        data = dumps_error(error)
    except Exception as why:
        text += f"(The exception itself cannot be pickled: {why})\n"
        data = b""
    return ticket.ERROR, pickle.dumps((data, text))


def value(result: Any) -> tuple[int, bytes]:
    """Pickle what a job returned."""
    try:
        return ticket.VALUE, dumps_result(result)
    except Exception as error:
        return fault(ResultNotPicklable(f"Its result, of type {type(result).__name__}, cannot be pickled: {error}"))


def fault(error: Exception) -> tuple[int, bytes]:
    """Pack an error of OctaPi's own."""
    return ticket.FAULT, pickle.dumps(error)


def traceback_text(error: BaseException) -> str:
    """Format the traceback from the user's first frame on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in OURS:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))
