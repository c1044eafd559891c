"""The moment after ``submit`` in which a script names its job and looks whether it still runs.

dispy's own pattern for many jobs is ``job = cluster.submit(...)``, ``job.id = n``, and, if ``job.status`` is not final,
``pending[n] = job``; the callback pops ``pending[job.id]``.  Jobs of milliseconds may end between any two of these
lines.  So until the script has read the status, goes on with something else or has had :data:`WINDOW_S` for it,
a job that has ended still looks as if it ran, and its callbacks are held back.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Final

#: how long callbacks are held back for a script that does neither, in seconds
WINDOW_S: Final = 0.1
#: how long at the most, if the script's thread gets no processor on a busy device, in seconds
LONGEST_S: Final = 5.0
#: how often it is looked whether the script went on, in seconds, and how many looks there are at least
STEP_S: Final = 0.0005
LOOKS: Final = 20
#: a thread that is in one of these waits to be told something, by a callback for all we know
WAITING: Final = frozenset({threading.Condition.wait.__code__, threading.Event.wait.__code__})


class Window:
    """One such moment of the thread that makes it."""

    __slots__ = ("is_open", "native", "thread", "until")

    def __init__(self) -> None:
        self.is_open = True
        self.thread = threading.get_ident()
        self.native = threading.get_native_id()
        self.until = time.monotonic() + WINDOW_S

    def is_mine(self) -> bool:
        """Say whether it is open, and the calling thread's."""
        longest = self.until - WINDOW_S + LONGEST_S
        return self.is_open and self.thread == threading.get_ident() and time.monotonic() < longest

    def wait(self) -> None:
        """Return when it is closed, or need not be open any longer."""
        looks = 0
        while self.is_open and not has_gone_on(self.thread):
            late = time.monotonic() - self.until
            if (late >= 0 and looks >= LOOKS and not is_starved(self.native)) or late >= LONGEST_S - WINDOW_S:
                break
            looks += 1
            time.sleep(STEP_S)  # which lets a thread go on that waits for the interpreter
        self.is_open = False


class Windows:
    """The last window of each thread of a process."""

    def __init__(self) -> None:
        #: by the thread's number
        self.last: dict[int, Window] = {}

    def open(self) -> Window:
        """Open one for a job that the calling thread submits."""
        self.close()
        window = Window()
        self.last[window.thread] = window
        return window

    def close(self) -> None:
        """Close the calling thread's: it has gone on."""
        window = self.last.pop(threading.get_ident(), None)
        if window is not None:
            window.is_open = False


def is_starved(native: int) -> bool:
    """Say whether a thread, by the system's number, would run if it got a processor; False where nobody tells."""
    try:
        return Path(f"/proc/self/task/{native}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"R"
    except OSError:
        return False


def has_gone_on(thread: int) -> bool:
    """Say whether a thread has ended, or waits for another."""
    frame = sys._current_frames().get(thread)
    return frame is None or frame.f_code in WAITING
