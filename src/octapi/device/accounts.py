"""The accounts that OctaPi's processes run under when it was started by root."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import socket
import stat
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: the accounts for the scheduler and for jobs; never the same, for a job could otherwise end the scheduler
SCHEDULER_ACCOUNT = "octapi"
SLOT_ACCOUNT = "octapi-slot"
#: numbers of accounts that no system gives to anybody: where those accounts do not exist, they run under these
NUMBERS = {SCHEDULER_ACCOUNT: 60_576, SLOT_ACCOUNT: 60_577}
#: the same for submitted scripts; each of a master that root runs has its own
RUN_UIDS = range(60_578, 61_184)
#: how long the end of an account's last process is waited for, in seconds
END_S = 5.0


class Account(NamedTuple):
    """An account of this device."""

    name: str
    uid: int
    gid: int


def is_root() -> bool:
    """Say whether this process may become anybody."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def find(name: str) -> Account | None:
    """Return an account, or its number where it does not exist; None where somebody else has that number."""
    try:
        import pwd
    except ImportError:
        return None
    with contextlib.suppress(KeyError):
        row = pwd.getpwnam(name)
        return Account(name, row.pw_uid, row.pw_gid)
    number = NUMBERS[name]
    try:
        pwd.getpwuid(number)
    except KeyError:
        return Account(name, number, number)
    return None


def is_made(name: str) -> bool:
    """Say whether this device has an account of that name."""
    import pwd

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def unreadable() -> str:
    """Return a directory of this installation that other accounts cannot enter; an empty text if there is none."""
    places = (sys.prefix, sys.base_prefix, sys.executable, __file__, os.__file__)
    for place in {Path(text) for text in places} | {Path(text).resolve() for text in places}:
        for part in (place, *place.parents):
            if part.is_dir() and not part.stat().st_mode & stat.S_IXOTH:
                return str(part)
    return ""


def unprivileged(name: str) -> tuple[Account | None, str]:
    """Return the account to run under if this process is root, and a line to say when that cannot be."""
    if not is_root():
        return None, ""
    found, closed = find(name), unreadable()
    if found is None:
        return None, f"There is no account {name!r}, and another has its number, so everything runs as root. Make it."
    if closed:
        return None, f"The account {found.name!r} cannot enter {closed}, so everything runs as root. Install elsewhere."
    return found, ""


def become(account: Any) -> None:
    """Become an account for good, groups included; ``account`` is an :class:`Account`, its values, or None."""
    if not account:
        return
    found = Account(*account)
    os.setgroups([])
    os.setgid(found.gid)
    os.setuid(found.uid)
    os.environ["HOME"] = "/nonexistent"


def pids_of(uid: int, place: Path = Path("/proc")) -> list[int]:
    """Return the processes of an account that live, from /proc (proc(5)); zombies do not."""
    found = []
    for entry in place.iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "status").read_text()
            except OSError:
                continue  # it has ended meanwhile
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            if str(uid) in fields["Uid"].split() and not fields["State"].strip().startswith("Z"):
                found.append(int(entry.name))
    return found


def end_account(uid: int) -> bool:
    """Kill all processes of an account, and say whether none is left.

    Root stops all of them before it kills any, again and again: one that runs could start others, or kill a helper that
    had become the account.
    """
    deadline = time.monotonic() + END_S
    while pids := pids_of(uid):
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        if time.monotonic() > deadline:
            return False
    return True


@functools.cache
def libc() -> Any:
    """Return the C library."""
    return ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def files_of(account: Account | None) -> Iterator[None]:
    """Let this thread's file operations be the account's, so that its links and modes lead nowhere else.

    Linux has this for file servers: setfsuid(2) holds for one thread, and takes root's capabilities over files away.
    """
    if account is None:
        yield
        return
    libc().setfsgid(account.gid)
    libc().setfsuid(account.uid)
    try:
        yield
    finally:
        libc().setfsuid(os.geteuid())
        libc().setfsgid(os.getegid())


def peer_uid(sock: socket.socket) -> int | None:
    """Return the user id of whoever is at the other end of a Unix socket; None where the kernel does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)
