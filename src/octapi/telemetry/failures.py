"""Why a job failed, read from its outcome: what people group failures by."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, TypedDict

from octapi.protocol import outcome

if TYPE_CHECKING:
    from octapi.errors import JobError

NUMBER = re.compile(r"\d+")
PLACE = re.compile(r'File "([^"]+)", line (\d+)')


class Failure(TypedDict, total=False):
    """A failure in words; ``output`` and ``worker`` only where the error itself says them."""

    kind: str
    message: str
    line: str
    traceback: str
    output: str
    worker: str


def read(kind: int, data: bytes) -> Failure:
    """Return the ``kind``, ``message``, ``line`` and ``traceback`` of a failure; nothing it holds gets out as an error.

    A job's own exception is not unpickled: its traceback is text, and says it all.
    """
    try:
        if kind == outcome.FAULT:
            return of_fault(pickle.loads(data))
        _, text = pickle.loads(data)
        return of_text(str(text))
    except Exception as error:
        return {"kind": type(error).__name__, "message": "its error cannot be read", "line": "", "traceback": ""}


def of_fault(error: JobError) -> Failure:
    """Describe an error that OctaPi itself made."""
    message = str(error.args[0]) if error.args else str(error)
    output, worker = getattr(error, "stderr", "") or "", getattr(error, "worker", "") or ""
    kind, text = type(error).__name__, str(error)
    return {"kind": kind, "message": message, "line": "", "traceback": text, "output": output, "worker": worker}


def of_text(text: str) -> Failure:
    """Describe an exception by its traceback."""
    last = text.strip().rsplit("\n", 1)[-1]
    kind, _, message = last.partition(":")
    places = PLACE.findall(text)
    line = f"{places[-1][0].rpartition('/')[2]}:{places[-1][1]}" if places else ""
    return {"kind": kind.strip()[:120], "message": message.strip(), "line": line, "traceback": text[-6000:]}


def key_of(function: str, found: Failure) -> str:
    """Return what failures of the same cause have in common: numbers in messages differ from job to job."""
    return f"{function}|{found['line']}|{found['kind']}|{NUMBER.sub('#', found['message'])}"[:400]
