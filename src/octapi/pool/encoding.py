"""From what a job returned or raised to bytes that can travel."""

from __future__ import annotations

import os
import pickle
import traceback
from pathlib import Path
from typing import Final

from octapi.errors import JobExited, JobStopped, OutputTooLarge, ResultNotPicklable
from octapi.pickling import dumps_error, dumps_result
from octapi.protocol import outcome

#: frames below it are not the user's
OURS: Final = str(Path(__file__).parents[1]) + os.sep


def failure(error: BaseException) -> tuple[int, bytes]:
    """Turn what a job raised into an outcome that can travel."""
    if isinstance(error, SystemExit):
        return fault(JobExited(f"The job called sys.exit({error.code!r})."))
    if isinstance(error, KeyboardInterrupt) and is_from_agent(error):
        return fault(JobStopped("The job was interrupted."))
    if isinstance(error, OutputTooLarge):
        return fault(error)
    text = traceback_text(error)
    try:
        data = dumps_error(error)
    except Exception as why:
        text += f"(The exception itself cannot be pickled: {why})\n"
        data = b""
    return outcome.ERROR, pickle.dumps((data, text))


def value(result: object) -> tuple[int, bytes]:
    """Pickle what a job returned."""
    try:
        return outcome.VALUE, dumps_result(result)
    except Exception as error:
        from octapi.pickling import blame

        return fault(ResultNotPicklable(blame.in_result(result, error, dumps_result)))


def fault(error: Exception) -> tuple[int, bytes]:
    """Pack an error of OctaPi's own."""
    return outcome.FAULT, pickle.dumps(error)


def is_from_agent(error: KeyboardInterrupt) -> bool:
    """Say whether an interrupt is the agent's, and not one that the job raised itself."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(OURS)


def traceback_text(error: BaseException) -> str:
    """Format the traceback, and those of its causes, from the user's first frame on."""
    told = traceback.TracebackException.from_exception(error)
    trim(told)
    return "".join(told.format())


def trim(told: traceback.TracebackException) -> None:
    """Take the frames that lead to the user's out of a traceback and those it hangs together with."""
    todo: list[traceback.TracebackException | None] = [told]
    while todo:
        one = todo.pop()
        if one is not None:
            while one.stack and one.stack[0].filename.startswith(OURS):
                del one.stack[0]
            todo += [one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ())]
