"""The accounts that OctaPi's processes run under when it was started by root."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: the accounts for the scheduler and for jobs; where they do not exist, the second choice is used
SCHEDULER_ACCOUNT = "octapi"
SLOT_ACCOUNT = "octapi-slot"
FALLBACK = "nobody"


class Account(NamedTuple):
    """An account of this device."""

    name: str
    uid: int
    gid: int


def is_root() -> bool:
    """Say whether this process may become anybody."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def find(name: str) -> Account | None:
    """Return an account, or the fallback; None where there are none."""
    try:
        import pwd
    except ImportError:
        return None
    for choice in (name, FALLBACK):
        with contextlib.suppress(KeyError):
            row = pwd.getpwnam(choice)
            return Account(choice, row.pw_uid, row.pw_gid)
    return None


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
        return None, f"There is no account {name!r} and no {FALLBACK!r}, so everything runs as root."
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
