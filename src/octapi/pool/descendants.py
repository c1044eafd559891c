"""The processes that a job has started, found and ended when it is over."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

#: prctl(2): who becomes the parent of orphans, and the signal at the death of the parent
_SET_DEATH_SIGNAL = 1
_SET_SUBREAPER = 36
#: whether others of the same account may look into a process and take its descriptors
_SET_DUMPABLE = 4
#: how long processes may take to end by themselves, as helpers of multiprocessing do, and once killed, in seconds
GRACE_S = 0.1
END_S = 2.0
PROC = Path("/proc")
_libc = ctypes.CDLL(None)
# looked up once, and not in each job's process
_prctl_of_libc = getattr(_libc, "prctl", None)
#: writes out what code in C has printed, as at the end of a program
flush_c = _libc.fflush


def adopt_orphans() -> None:
    """Become the parent of all that this process's children leave behind; Linux only, elsewhere nothing happens."""
    _prctl(_SET_SUBREAPER, 1)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends; Linux only."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def close_to_others() -> None:
    """Let no other process of this account look into this one or take its descriptors, as jobs could; Linux only."""
    _prctl(_SET_DUMPABLE, 0)


def open_to_others() -> None:
    """Be an ordinary process again, which may be debugged and finds its own files below /proc."""
    _prctl(_SET_DUMPABLE, 1)


def _prctl(what: int, value: int) -> None:
    if _prctl_of_libc is not None:
        _prctl_of_libc(what, value, 0, 0, 0)


def parents() -> dict[int, int]:
    """Return the parent of each process of this device; empty where there is no /proc."""
    found = {}
    for entry in os.scandir(PROC) if PROC.is_dir() else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                text = (PROC / entry.name / "stat").read_text(encoding="utf-8", errors="replace")
                found[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    return found


def below(root: int, of: dict[int, int]) -> list[int]:
    """Return the processes that descend from ``root``, by a table of :func:`parents`."""
    children: dict[int, list[int]] = {}
    for pid, parent in of.items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    todo = [root]
    while todo:
        mine = children.get(todo.pop(), [])
        found += mine
        todo += mine
    return found


def end_all() -> int:
    """Kill what a job has left running below this process, and wait for it; return how many processes were killed.

    This process must have adopted orphans, and have no other children.
    """
    killed: set[int] = set()
    grace = time.monotonic() + GRACE_S
    while time.monotonic() < grace:
        if reap():
            return 0
        time.sleep(0.002)
    deadline = time.monotonic() + END_S
    while not reap() and time.monotonic() < deadline:
        mine = below(os.getpid(), parents())
        for pid in mine:
            killed.add(pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if mine:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, 0)
    return len(killed)


def reap() -> bool:
    """Take note of children that have ended; return whether there are none left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False
