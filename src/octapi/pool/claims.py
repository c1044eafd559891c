"""What the process that forks slots says of them, checked before anything is done to such a process.

Whoever has that process's socket could name any process of this device, and an agent that root runs may signal all of
them.  So a process counts only if the kernel says that it is a child of who named it, that it began after it was asked
for, and that it belongs to the slots' account.  It is then held by a descriptor (pidfd_open(2)), which means this
process for good, also when its number is given to another.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from octapi.device.accounts import is_root
from octapi.errors import MessageRefused
from octapi.pool.descendants import PROC

if TYPE_CHECKING:
    from octapi.device.accounts import Account

#: whether this system knows descriptors of processes, and tells whose child a process is
CAN_CHECK: Final = hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal") and PROC.is_dir()
#: by how much a start may seem to be earlier than what asked for it: two ticks of the kernel's clock, in seconds
SLACK_S: Final = 0.02
#: in place of a descriptor: the system has none, or it was given back
NONE, ENDED = -1, -2


class Facts(NamedTuple):
    """What the kernel says of a process: seconds from the boot to its start; its accounts of all four kinds."""

    parent: int
    group: int
    start: float
    uids: tuple[int, ...]


def facts_of(pid: int) -> Facts:
    """Read what the kernel says of a process.  Raises OSError when there is none."""
    place = PROC / str(pid)
    fields = (place / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    status = (place / "status").read_text(encoding="utf-8", errors="replace")
    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    return Facts(int(fields[1]), int(fields[2]), int(fields[19]) / os.sysconf("SC_CLK_TCK"), tuple(map(int, uids)))


def since_boot() -> float:
    """Return the time by the clock of which the kernel tells the start of processes, in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else 0.0


def why_not(found: Facts, parent: int, asked: float, uid: int | None) -> str:
    """Say what is wrong with a process that ``parent`` (0: not known yet) says it forked after ``asked``."""
    if parent and found.parent != parent:
        return f"it is a child of process {found.parent}, not of {parent}"
    if found.start < asked - SLACK_S:
        return "it began before it was asked for"
    if uid is not None and set(found.uids) != {uid}:
        return f"it belongs to account {found.uids[0]}, not to {uid}"
    return ""


class Process:
    """A slot's process: signals go to it, or to nobody."""

    def __init__(self, pid: int, handle: int, account: Account | None) -> None:
        self.pid = pid
        self.handle = handle
        self.account = account

    def signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.handle >= 0:
                signal.pidfd_send_signal(self.handle, number)
            elif self.handle == NONE:
                os.kill(self.pid, number)

    def signal_all(self, number: int) -> None:
        """Send a signal to this process and to what it started in its group: to all at once, as a fork bomb needs it.

        As long as the process was not waited for, its number and that of its group belong to nobody else.
        """
        if self.handle == ENDED:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.handle >= 0:
                signal.pidfd_send_signal(self.handle, 0)
            os.killpg(self.pid, number)
        self.signal(number)  # one that was just forked has no group of its own yet

    def close(self) -> None:
        """Let the process go."""
        if self.handle >= 0:
            os.close(self.handle)
        self.handle = ENDED


def held(pid: int, parent: int, asked: float, account: Account | None) -> Process:
    """Hold a process that ``parent`` says it forked.

    Raises :exc:`ProcessLookupError` when it has ended already, and :exc:`MessageRefused` when it is another's.
    """
    if pid <= 1:
        raise MessageRefused(f"process {pid} is no slot")
    process = Process(pid, os.pidfd_open(pid) if CAN_CHECK else NONE, account)
    try:
        wrong = wrong_with(process, parent, asked) if CAN_CHECK and is_root() else ""
    except BaseException:
        process.close()
        raise
    if wrong:
        process.close()
        raise MessageRefused(f"process {pid} is no slot of its: {wrong}")
    return process


def wrong_with(process: Process, parent: int, asked: float) -> str:
    """Say what is wrong with a process that is held.  Raises :exc:`ProcessLookupError` when it has ended already."""
    try:
        found = facts_of(process.pid)
    except FileNotFoundError:
        raise ProcessLookupError from None
    wrong = why_not(found, parent, asked, None if process.account is None else process.account.uid)
    signal.pidfd_send_signal(process.handle, 0)  # so the facts were those of the process that is held
    return wrong
