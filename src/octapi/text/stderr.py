"""What is said to the person who waits, on stderr if there is one: it may be closed, or nobody may read it."""

from __future__ import annotations

import contextlib
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def say(text: str, end: str = "\n") -> None:
    """Write one line; where nobody can read it, nothing happens."""
    write(sys.stderr, text + end)


def write(stream: TextIO | None, text: str) -> None:
    """Write to a standard stream; where nobody can read it, nothing happens."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):  # its reader is gone, or it is closed
        stream.write(text)
        stream.flush()


def is_terminal() -> bool:
    """Say whether somebody sees stderr as it is written."""
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except (OSError, ValueError):
        return False


def story_of(error: BaseException) -> str:
    """Return an error with its traceback as text; nothing that it holds gets out as another error."""
    try:
        return "".join(traceback.format_exception(error)).rstrip()
    except Exception:
        return type(error).__name__
