"""How far the jobs are: a bar at the foot of the terminal, or now and then a line where there is none."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from octapi.client.footer import Footer

#: nothing is shown of work that is over sooner, in seconds
FIRST_S = 0.5
EVERY_S = 0.2
#: how often a line is written where there is no terminal, in seconds
LINE_S = 5.0
#: the rate is that of so many seconds past
RATE_S = 5.0
#: letters of the bar itself
LENGTH = 40
#: full and empty parts of the bar, and where letters are ASCII only
PARTS, PLAIN_PARTS = ("━", "─"), ("#", "-")

#: returns how many jobs are done and how many there are
Counts = Callable[[], tuple[int, int]]


def is_wanted(asked: bool | None) -> bool:
    """Say whether to show how far the jobs are: as asked, or else on a terminal only."""
    if asked is not None:
        return asked and sys.stderr is not None
    return os.environ.get("TERM") != "dumb" and terminal() is not None


def terminal() -> int | None:
    """Return the descriptor of the terminal that stderr writes to; None if it is none."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no stderr, closed, or of a script's own making
        return sys.stderr.fileno() if sys.stderr.isatty() else None
    return None


def has_foot(descriptor: int) -> bool:
    """Say whether a terminal can keep a line at its foot: one whose size is known, as on a serial line it is not."""
    try:
        return os.name != "nt" and os.get_terminal_size(descriptor).lines > 0
    except OSError:
        return False


class Pace:
    """How quickly jobs get done, by what was counted in the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, done: int, now: float) -> float | None:
        """Take a count and return jobs a second; None while it cannot be told."""
        seen = self._seen
        seen.append((now, done))
        while len(seen) > 2 and now - seen[1][0] >= RATE_S:
            seen.popleft()
        began, first = seen[0]
        return (done - first) / (now - began) if now > began and done > first else None


def bar(done: int, total: int, parts: tuple[str, str] = PARTS) -> str:
    """Return the bar itself."""
    full = LENGTH * min(done, total) // total if total else 0
    return parts[0] * full + parts[1] * (LENGTH - full)


def words(done: int, total: int, rate: float | None) -> str:
    """Say how many jobs are done, how quickly, and how long the rest may take."""
    if not rate:
        return f"{done:,}/{total:,}"
    return f"{done:,}/{total:,}  {rate:,.{0 if rate >= 10 else 1}f}/s  {clock((total - done) / rate)} left"


def clock(seconds: float) -> str:
    """Write a time as ``0:05`` or ``1:02:03``."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


class Bar:
    """Shows counts until it is closed, from a thread of its own."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="octapi-progress", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(FIRST_S):
            done, total = self._counts()
            if done < total:
                descriptor = terminal()
                if descriptor is not None and has_foot(descriptor):
                    self._show(Footer(descriptor))
                else:
                    self._tell()

    def _show(self, footer: Footer) -> None:
        pace, parts = Pace(), parts_for(getattr(sys.stderr, "encoding", None) or "ascii")
        try:
            while not self._closed.wait(EVERY_S):
                done, total = self._counts()
                if done >= total:
                    return
                text = words(done, total, pace.rate(done, time.monotonic()))
                footer.show(f"jobs {bar(done, total, parts)} {text}")
        finally:
            footer.close()

    def _tell(self) -> None:
        pace = Pace()
        while not self._closed.wait(LINE_S):
            done, total = self._counts()
            if done >= total:
                return
            with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr was closed meanwhile
                text = words(done, total, pace.rate(done, time.monotonic()))
                sys.stderr.write(f"octapi: jobs {text}\n")
                sys.stderr.flush()

    def close(self) -> None:
        """Take the bar away."""
        self._closed.set()
        self._thread.join()


def parts_for(encoding: str) -> tuple[str, str]:
    """Return the bar's letters that an encoding has."""
    try:
        "".join(PARTS).encode(encoding)
    except (UnicodeError, LookupError):
        return PLAIN_PARTS
    return PARTS
