"""What a job prints: captured for itself, and bounded."""

from __future__ import annotations

import io
import os

from octapi.errors import OutputTooLarge

#: the most characters one job may print to one stream
OUTPUT_LIMIT = 16_000_000
#: how much of a job's stderr also goes to the slot's own, for the case that the process dies
ECHO_LIMIT = 16_384


class Capture(io.TextIOBase):
    """A text stream that keeps what is written; shared by all jobs of a slot, one after the other."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, echo_fd: int | None = None, limit: int = OUTPUT_LIMIT) -> None:
        self._parts: list[str] = []
        self._size = 0
        self._echo_fd = echo_fd
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
            raise OutputTooLarge(
                f"The job printed more than {self._limit:,} characters. "
                "Write large output to a file and send that back."
            )
        if self._echo_fd is not None and self._size < ECHO_LIMIT:
            os.write(self._echo_fd, text[:ECHO_LIMIT].encode("utf-8", "replace"))
        self._parts.append(text)
        self._size += len(text)
        return len(text)

    def take(self) -> str:
        """Return what was written, and start anew for the next job."""
        text = "".join(self._parts)
        self._parts.clear()
        self._size = 0
        self.used = False
        self.overflowed = False
        return text
