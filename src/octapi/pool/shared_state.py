"""The page that a slot shares with its agent: where the slot is, and results not yet sent.

The page outlives the slot's process, so finished jobs keep their results when a later job of
the same batch kills it, and the agent always knows which job was running since when.

Layout: cells of 8 bytes (see the constants), then result records.  Each cell has one
writer and is written whole.  A cell that names a job holds ``serial << 32 | index``: the serial
number of the batch in this slot, and the job's index in that batch.

Guarantee: after the agent has written :data:`LIMIT` and waited some milliseconds, a slot either
has already written its next job into :data:`CURRENT` or will see the limit before it runs one.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import tempfile
from typing import Final

SEQUENCE: Final = 0  # slot: number of result frames sent so far
COMMITTED: Final = 1  # slot: bytes of complete records in the journal
CURRENT: Final = 2  # slot: the job it runs, or IDLE
STARTED: Final = 3  # slot: when that job started, in nanoseconds of the clock that nobody sets
LIMIT: Final = 4  # agent: jobs from here on are not to be started
INTERRUPT: Final = 5  # agent: the job that SIGINT is meant for
FAILED: Final = 6  # slot: number of its jobs that ended in an error so far
ENDED: Final = 7  # slot: the first job that it did not start of a batch that it has ended
PROCESS: Final = 8  # slot: the process id of the job that has a process of its own, else 0

HEADER: Final = 128
SIZE: Final = 1 << 20
IDLE: Final = (1 << 64) - 1


def create() -> int:
    """Make the page and return its file descriptor."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("octapi-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, SIZE)
        # a job that made it shorter would take the agent's memory away under it
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return fd
    with tempfile.TemporaryFile() as file:
        fd = os.dup(file.fileno())
    os.ftruncate(fd, SIZE)
    return fd


class SharedState:
    """One side's view of the shared page."""

    def __init__(self, fd: int) -> None:
        before = os.fstat(fd)
        self._kept = os.dup(fd)  # the lowest number that is free, which the map's own copy gets in its place
        os.close(self._kept)
        self.map = mmap.mmap(fd, SIZE)
        self._inode = before.st_dev, before.st_ino
        os.close(fd)
        self._view = memoryview(self.map)
        self.cells = self._view[:HEADER].cast("Q")

    def clear(self) -> None:
        """Set the cells to their first state."""
        self.cells[SEQUENCE] = 0
        self.cells[COMMITTED] = 0
        self.cells[CURRENT] = IDLE
        self.cells[STARTED] = 0
        self.cells[LIMIT] = IDLE
        self.cells[INTERRUPT] = IDLE
        self.cells[FAILED] = 0
        self.cells[ENDED] = IDLE
        self.cells[PROCESS] = 0

    def keep_from_children(self) -> None:
        """Let processes forked from this one not have it: what they could do to it, a job could.

        For a process that never closes the page.
        """
        with contextlib.suppress(OSError):  # a map that keeps no descriptor
            found = os.fstat(self._kept)
            if (found.st_dev, found.st_ino) == self._inode:
                os.close(self._kept)
        if hasattr(mmap, "MADV_DONTFORK"):
            self.map.madvise(mmap.MADV_DONTFORK)

    def committed(self) -> bytes:
        """Copy the records that are complete."""
        return self.map[HEADER : HEADER + self.cells[COMMITTED]]

    def close(self) -> None:
        """Give the memory back."""
        self.cells.release()
        self._view.release()
        self.map.close()


def place(serial: int, index: int) -> int:
    """Name a job by its batch's serial number and its index."""
    return serial << 32 | index


def index_of(cell: int, serial: int) -> int | None:
    """Return the index that ``cell`` names in batch ``serial``; None if it names another batch."""
    return cell & 0xFFFFFFFF if cell != IDLE and cell >> 32 == serial else None
