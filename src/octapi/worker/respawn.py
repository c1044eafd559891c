"""A worker that comes back by itself: a small process beside it starts it again when it dies.

systemd and containers do that for what they start, and are left to it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from typing import TYPE_CHECKING, Final

from octapi.device import parent
from octapi.errors import OctapiError
from octapi.settings import Internal, internal, take_internal
from octapi.telemetry import logs
from octapi.worker import respawner

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_CHILD_SUBREAPER: Final = 36


def is_kept() -> bool:
    """Say whether somebody else starts this process again: systemd, or the engine of a container."""
    return os.getpid() == 1 or "INVOCATION_ID" in os.environ or not hasattr(os, "fork")


def is_again() -> bool:
    """Say whether this process follows a worker that died; what the first was given only once is gone."""
    return internal(Internal.WATCHED_FD) != ""


def work_again(work: Callable[[], None]) -> None:
    """Do ``work`` in a process that is started again when it dies, until it returns or raises what OctaPi raises.

    The first call does not return in the process that makes it, which becomes :mod:`octapi.worker.respawner`, so that
    whoever started this worker waits for all of its lives.  Nothing may run in other threads.
    """
    watched = take_internal(Internal.WATCHED_FD)
    if watched:
        return be_worker(work, int(watched), os.getppid())
    if is_kept():
        return work()
    watching, line = os.getpid(), logs.template("octapi.worker", logging.WARNING)
    reading, writing = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.set_inheritable(reading, True)
        os.close(writing)
        if sys.platform == "linux":  # it holds for the program that comes next, too
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        variable = Internal.WATCHED_FD
        watch = [sys.executable, "-I", "-S", respawner.__file__, str(pid), str(reading), variable, line]
        os.execv(sys.executable, [*watch, sys.executable, *sys.orig_argv[1:]])
    os.close(reading)
    return be_worker(work, writing, watching)


def be_worker(work: Callable[[], None], writing: int, watching: int) -> None:
    """Do the work, and tell the process that watches when it is over for good."""
    os.set_inheritable(writing, False)
    os.setpgid(0, 0)  # Ctrl-C comes once, from the process that watches
    parent.die_with(watching)
    try:
        work()
    except (OctapiError, KeyboardInterrupt, SystemExit):
        os.write(writing, b".")
        raise
    os.write(writing, b".")
