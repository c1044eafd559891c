"""The authority on the master's disk, and the lines to back it up."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from octapi.device import files
from octapi.errors import IdentityProblem
from octapi.protocol.specs import NAME
from octapi.trust import authority_check
from octapi.trust.authority import LIFE_S, Authority, State, new_state

if TYPE_CHECKING:
    from pathlib import Path

FILE = "authority/authority.json"
#: no cluster's identity is larger, in bytes
BACKUP_LIMIT = 64 << 20


def path_in(home: Path) -> Path:
    """Return where the authority's state lies."""
    return home / FILE


def open_authority(home: Path, cluster: str = "", life_s: float | None = None) -> tuple[Authority, bool]:
    """Read the authority, or make it at the first start; say whether it is new.

    Raises :exc:`IdentityProblem` when it is damaged, open to others, or of another name than ``cluster``.
    """
    path = path_in(home)
    files.private_directory(home)
    try:
        state = State.from_json(files.read(path))
        is_new = False
    except FileNotFoundError:
        state, is_new = new_state(cluster or default_name(), time.time(), life_s or LIFE_S), True
    except IdentityProblem as error:
        raise IdentityProblem(f"{path}: {error}") from error
    if cluster and state.cluster != cluster:
        raise IdentityProblem(
            f"This device is the master of the cluster {state.cluster!r}, not of {cluster!r}. "
            "Leave the name out, or use another OCTAPI_HOME for another cluster."
        )
    if life_s is not None:
        state.life_s = life_s
    authority = Authority(state, lambda found: files.write(path, found.to_json()))
    if is_new:
        authority.save()
    return authority, is_new


def default_name() -> str:
    """Return the cluster's name when nobody gave one: the master's host name."""
    host = socket.gethostname().partition(".")[0]
    return host if NAME.fullmatch(host) else "octapi"


def backup(home: Path, target: Path) -> None:
    """Write the whole identity of the cluster into one file, mode 0600.  Raises :exc:`IdentityProblem`."""
    path = path_in(home)
    if not path.exists():
        raise IdentityProblem(f"There is no cluster identity in {home}: this device is no master.")
    if target.exists():
        raise IdentityProblem(f"{target} exists already. Remove it, or give the name of a new file.")
    files.check(path, 0o600)
    text = files.read(path)
    State.from_json(text)
    write_beside(target, text)


def write_beside(target: Path, text: str) -> None:
    """Write a secret file into a directory that may be open to others, as a memory stick is.

    Raises :exc:`IdentityProblem` when it cannot be.
    """
    import os

    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        why = "something is there already, if only a link" if isinstance(error, FileExistsError) else error.strerror
        raise IdentityProblem(f"{target} cannot be written: {why}. Give the name of a new file.") from error


def read_backup(source: Path) -> str:
    """Return what a file holds.  Raises :exc:`IdentityProblem` when it cannot be a backup."""
    if not source.is_file():
        raise IdentityProblem(f"There is no file {source}.")
    try:
        if source.stat().st_size > BACKUP_LIMIT:
            raise IdentityProblem(f"{source} is no backup: it has more than {BACKUP_LIMIT >> 20} MB.")
        return source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityProblem(f"{source} cannot be read as a backup: {error}.") from error


def restore(home: Path, source: Path) -> str:
    """Make this device the master from a backup, and return the cluster's name.

    Raises :exc:`IdentityProblem` when the file is no backup, or this device is a master already.
    """
    text = read_backup(source)
    state = State.from_json(text)
    try:
        authority_check.check(state)
    except IdentityProblem as error:
        raise IdentityProblem(f"{source} is no backup that a master can start with: {error}") from error
    path = path_in(home)
    if path.exists():
        raise IdentityProblem(
            f"This device is a master already ({path}). Move that directory away if you want to replace it."
        )
    files.private_directory(home)
    files.write(path, text)
    return state.cluster
