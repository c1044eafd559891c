"""A worker that comes back by itself: a small process starts the one that works, again when it dies.

systemd and containers do that for what they start, and are left to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from octapi import parent
from octapi.errors import OctapiError

if TYPE_CHECKING:
    from collections.abc import Callable

#: a process that lived for so long is followed at once; others after pauses that double, in seconds
GOOD_S: Final = 30.0
FIRST_S: Final = 0.25
LONGEST_S: Final = 30.0
#: how long what a dead worker has left may take to end, in seconds
SWEEP_S: Final = 5.0
PR_SET_CHILD_SUBREAPER: Final = 36


def pause_after(pause_s: float, lived_s: float) -> float:
    """Return how long to wait before the next process, after one that lived for ``lived_s`` seconds."""
    return 0.0 if lived_s >= GOOD_S else min(max(2 * pause_s, FIRST_S), LONGEST_S)


def when(pause_s: float) -> str:
    """Say when the next process starts."""
    return f"in {pause_s:.0f} s" if pause_s >= 1 else "now"


def how_ended(code: int) -> str:
    """Say how a process ended that left this exit code, or the negative number of a signal."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def is_kept() -> bool:
    """Say whether somebody else starts this process again: systemd, or the engine of a container."""
    return os.getpid() == 1 or "INVOCATION_ID" in os.environ or not hasattr(os, "fork")


def work_again(work: Callable[[], None], say: Callable[[str], None]) -> None:
    """Do ``work`` in a process of its own, again when that dies, until it returns or raises.

    It returns and raises what ``work`` does in that process; the one that waits for it ends with the same exit code.
    Nothing may run in other threads.
    """
    if is_kept():
        return work()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    pause_s = 0.0
    while True:
        began = time.monotonic()
        reading, writing = os.pipe()
        sys.stdout.flush()
        waiting = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os.setpgid(0, 0)  # Ctrl-C comes once, from the process that waits
            parent.die_with(waiting)
            return be_worker(work, writing)
        os.close(writing)
        code = wait_for(pid)
        if os.read(reading, 1):
            sys.exit(code if code >= 0 else 128 - code)
        os.close(reading)
        sweep()
        pause_s = pause_after(pause_s, time.monotonic() - began)
        say(f"the worker's process ended ({how_ended(code)}); it starts again {when(pause_s)}.")
        time.sleep(pause_s)


def be_worker(work: Callable[[], None], writing: int) -> None:
    """Do the work, and tell the process that waits when it is over for good."""
    try:
        work()
    except (OctapiError, KeyboardInterrupt, SystemExit):
        os.write(writing, b".")
        raise
    os.write(writing, b".")


def wait_for(pid: int) -> int:
    """Wait for the end of a process, passing on signals that ask for it; return its exit code or negative signal."""
    asked = False

    def ask(number: int, _: Any) -> None:
        nonlocal asked
        if not asked:
            asked = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while True:
            found, status = os.waitpid(-1, 0)
            if found == pid:
                break
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    code = os.waitstatus_to_exitcode(status)
    if asked and code < 0:
        end_as(code)
    return code


def end_as(code: int) -> NoReturn:
    """End with the exit code that says that a signal ended the worker."""
    sys.exit(128 - code)


def sweep() -> None:
    """Kill what a dead worker has left: slots whose parent is gone are this process's children now."""
    deadline = time.monotonic() + SWEEP_S
    while time.monotonic() < deadline:
        for child in children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            found, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not found:
            time.sleep(0.02)


def children() -> list[int]:
    """Return this process's children; none where the system does not tell."""
    place = Path(f"/proc/self/task/{os.getpid()}/children")
    try:
        return [int(word) for word in place.read_text(encoding="ascii").split()]
    except OSError:
        return []
