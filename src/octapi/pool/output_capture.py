"""What a job prints: captured for itself, and bounded."""

from __future__ import annotations

import io

from octapi.errors import OutputTooLarge

#: the most characters one job may print to one stream
OUTPUT_LIMIT = 16_000_000


def too_much(limit: int = OUTPUT_LIMIT) -> OutputTooLarge:
    """Return the error for a job that printed more than its limit."""
    return OutputTooLarge(
        f"The job printed more than {limit:,} characters. Write large output to a file and send that back."
    )


class Capture(io.TextIOBase):
    """A text stream that keeps what harmless jobs print, one after the other; see :mod:`octapi.pool.harmless`."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, limit: int = OUTPUT_LIMIT) -> None:
        self._parts: list[str] = []
        self._size = 0
        self._limit = limit
        self.used = False
        self.overflowed = False

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Keep ``text``; raise :exc:`OutputTooLarge` when the job's limit is passed."""
        self.used = True
        if self._size + len(text) > self._limit:
            self.overflowed = True
            raise too_much(self._limit)
        self._parts.append(text)
        self._size += len(text)
        return len(text)

    def take(self) -> str:
        """Return what was written, and start anew for the next job."""
        if not self.used:
            return ""
        text = "".join(self._parts)
        self._parts.clear()
        self._size = 0
        self.used = False
        self.overflowed = False
        return text
