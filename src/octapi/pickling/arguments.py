"""Arguments of a job as one short text."""

from __future__ import annotations

import pickle

from octapi.pickling import buffers

ARGUMENTS_LIMIT = 80


def shortened(payload: bytes) -> str:
    """Return a job's arguments as one short text; nothing that a ``__repr__`` raises gets out."""
    try:
        pickled, beside = buffers.split(payload, own=False)
        *_, args, kwargs = pickle.loads(pickled, buffers=beside)  # before them there may be the function
        parts = [repr(arg) for arg in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
    except Exception as error:
        return f"<{type(error).__name__} while reading the arguments>"
    text = ", ".join(part if len(part) <= 40 else part[:37] + "..." for part in parts)
    return text if len(text) <= ARGUMENTS_LIMIT else text[: ARGUMENTS_LIMIT - 3] + "..."
