"""One line at the foot of a terminal that stays there while everything else scrolls above it.

The terminal itself keeps it apart: scrolling is confined to the lines above.  So whatever this process, its children
or its libraries print, by any way and on any descriptor that leads to the same terminal, neither mixes with the line
nor is changed, and nothing is put in place of ``sys.stdout`` or ``sys.stderr``.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading

SAVE, RESTORE = "\x1b7", "\x1b8"
#: makes sure that there is a line below the cursor, whose column stays
ROOM_BELOW = "\x1bD\x1b[A"
#: terminals with fewer lines or columns get no foot
LEAST_LINES, LEAST_COLUMNS = 4, 20

#: the terminal is one for all of a process's clusters: who shows something at its foot holds this
_held = threading.Lock()


def draw(text: str, lines: int, before: int) -> bytes:
    """Return what shows ``text`` at the foot of a terminal of ``lines`` lines, which had ``before`` at the last call.

    ``before`` is 0 at the first call.  The cursor stays where it is.
    """
    clear = f"\x1b[{before};1H\x1b[2K" if 0 < before < lines else ""
    room = ROOM_BELOW if before != lines else ""
    return f"{room}{SAVE}{clear}\x1b[1;{lines - 1}r\x1b[{lines};1H\x1b[2K{text}{RESTORE}".encode()


def erase(lines: int) -> bytes:
    """Return what takes the foot away and lets the whole terminal scroll again."""
    return f"{SAVE}\x1b[r\x1b[{lines};1H\x1b[2K{RESTORE}".encode()


class Footer:
    """The foot of the terminal at a descriptor.  It shows nothing while another one of this process is shown."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines = 0
        self._process = os.getpid()

    def show(self, text: str) -> None:
        """Show a text, cut to the terminal's width; nothing while this process is in the background."""
        try:
            columns, lines = os.get_terminal_size(self._descriptor)
        except OSError:  # the terminal has gone
            return
        if lines < LEAST_LINES or columns < LEAST_COLUMNS or not self._is_in_front() or not self._hold():
            return
        self._write(draw(text[: columns - 1], lines, self._lines))
        self._lines = lines

    def close(self) -> None:
        """Take it away."""
        if self._lines and os.getpid() == self._process:
            atexit.unregister(self.close)
            self._write(erase(self._lines))
            self._lines = 0
            _held.release()

    def _hold(self) -> bool:
        if self._lines:
            return True
        if not _held.acquire(blocking=False):
            return False
        atexit.register(self.close)  # a terminal left with a part of it fixed would trouble the shell
        return True

    def _is_in_front(self) -> bool:
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except (OSError, AttributeError):  # not the terminal that this process is controlled by
            return True

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the terminal has gone, and nobody sees it
            os.write(self._descriptor, data)
