"""Why a job failed, read from its outcome: what people group failures by."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

from octapi.dispatch import outcome

if TYPE_CHECKING:
    from octapi.errors import JobError

NUMBER = re.compile(r"\d+")
PLACE = re.compile(r'File "([^"]+)", line (\d+)')


def read(kind: int, data: bytes) -> dict[str, Any]:
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


def of_fault(error: JobError) -> dict[str, Any]:
    """Describe an error that OctaPi itself made."""
    message = str(error.args[0]) if error.args else str(error)
    found = {"kind": type(error).__name__, "message": message, "line": "", "traceback": str(error)}
    return found | {"output": getattr(error, "stderr", "") or "", "worker": getattr(error, "worker", "") or ""}


def of_text(text: str) -> dict[str, Any]:
    """Describe an exception by its traceback."""
    last = text.strip().rsplit("\n", 1)[-1]
    kind, _, message = last.partition(":")
    places = PLACE.findall(text)
    line = f"{places[-1][0].rpartition('/')[2]}:{places[-1][1]}" if places else ""
    return {"kind": kind.strip()[:120], "message": message.strip(), "line": line, "traceback": text[-6000:]}


def key_of(function: str, found: dict[str, Any]) -> str:
    """Return what failures of the same cause have in common: numbers in messages differ from job to job."""
    return f"{function}|{found['line']}|{found['kind']}|{NUMBER.sub('#', found['message'])}"[:400]
