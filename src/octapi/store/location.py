"""Where the database lies, and to whom it belongs."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from octapi.device.accounts import is_root
from octapi.errors import StateError
from octapi.settings import state_dir

if TYPE_CHECKING:
    from pathlib import Path

    from octapi.device.accounts import Account

#: the directory of the database below the state directory, for the scheduler's account alone
DIRECTORY = "history"
FILE = "history.db"


def database(state: Path | None = None) -> Path:
    """Return where the database of the master on this device lies; ``state`` is its state directory."""
    return (state or state_dir()) / DIRECTORY / FILE


def closed_to(path: Path, account: Account) -> str:
    """Return a directory above ``path`` that an account cannot pass through; an empty text if there is none."""
    for part in path.resolve().parents:
        if part.exists():
            status = part.stat()
            needed = stat.S_IXUSR if status.st_uid == account.uid else stat.S_IXOTH
            if not status.st_mode & needed:
                return str(part)
    return ""


def prepare(state: Path, account: Account | None) -> Path:
    """Make the state directory and the database's own below it, and return the latter.

    The state directory belongs to whoever calls; others may only pass through it when ``account``, the scheduler's, is
    another one, and submitted scripts have theirs.  The database's directory has mode 0700 and belongs to ``account``.
    Raises :exc:`StateError` when that cannot be.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_root() and state.stat().st_uid:
            os.chown(state, 0, 0)  # nobody else may put another directory in the place of one in here
        state.chmod(0o711 if is_root() else 0o700)
        place = state / DIRECTORY
        place.mkdir(mode=0o700, exist_ok=True)
        place.chmod(0o700)
        if account is not None:
            hand_over(place, account)
    except OSError as error:
        raise StateError(f"{state} cannot be used ({error.strerror or error})") from error
    closed = closed_to(place, account) if account is not None else ""
    if closed:
        raise StateError(
            f"the scheduler's account {account.name if account else ''!r} cannot enter {closed}. Set OCTAPI_STATE to a "
            "directory that every account can pass through to"
        )
    return place


def hand_over(place: Path, account: Account) -> None:
    """Give a directory and the plain files in it to an account; links are given, not what they lead to."""
    os.chown(place, account.uid, account.gid)
    for entry in os.scandir(place):
        os.chown(entry.path, account.uid, account.gid, follow_symlinks=False)
