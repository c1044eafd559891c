"""Files that are replaced whole, and secret ones: mode 0600 from birth, in directories of mode 0700."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from octapi.errors import IdentityProblem

if TYPE_CHECKING:
    from collections.abc import Iterator


def private_directory(path: Path) -> Path:
    """Make a directory for its owner alone, and return it.  Raises :exc:`IdentityProblem` when it is open to others."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not any(path.iterdir()):
        path.chmod(0o700)  # nothing in it can have been read yet
    check(path, 0o700)
    return path


def replace(
    path: Path,
    data: str | bytes,
    mode: int = 0o644,
    *,
    mtime: float = 0.0,
    owner: tuple[int, int] | None = None,
    is_lasting: bool = False,
) -> None:
    """Replace a file whole: whoever reads it meanwhile, or after a crash, finds the old one or the new one.

    Until it has its name it is for this user alone.  ``mtime`` is in epoch seconds, 0 for now; ``owner`` are user and
    group; what ``is_lasting`` is on the disk before this returns.  Raises OSError.
    """
    content = data.encode() if isinstance(data, str) else data
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            if owner is not None:
                os.fchown(handle, *owner)
            file.write(content)
            if is_lasting:
                file.flush()
                os.fsync(handle)
        part.chmod(mode)
        if mtime:
            os.utime(part, (mtime, mtime))
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write(path: Path, data: str | bytes) -> None:
    """Replace a secret file whole.  Raises OSError, and :exc:`IdentityProblem` for a directory open to others."""
    private_directory(path.parent)
    replace(path, data, 0o600, is_lasting=True)


def update(path: Path, data: str) -> None:
    """Replace a secret file whole if it holds something else; memory cards wear out.  Raises as :func:`write`."""
    with contextlib.suppress(OSError, ValueError, IdentityProblem):
        if read(path) == data:
            return
    write(path, data)


def replace_as_owner(path: Path, data: str, mode: int) -> None:
    """Replace a file whole for another program, in a directory that may be open; its owner and group stay.

    Raises OSError.
    """
    old = path.stat() if path.exists() else None
    is_others = old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid())
    owner = (old.st_uid, old.st_gid) if old is not None and is_others else None
    replace(path, data, mode if old is None else stat.S_IMODE(old.st_mode), owner=owner)


def read(path: Path) -> str:
    """Read a secret file.  Raises OSError, and :exc:`IdentityProblem` when others could read or replace it."""
    check(path.parent, 0o700)
    check(path, 0o600)
    return path.read_text(encoding="utf-8")


def check(path: Path, mode: int) -> None:
    """Raise :exc:`IdentityProblem` if ``path`` belongs to somebody else or grants more than ``mode``."""
    if not hasattr(os, "getuid"):
        return
    status = path.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise IdentityProblem(f"{path} belongs to another user (uid {status.st_uid}). Use a directory of your own.")
    if stat.S_IMODE(status.st_mode) & ~mode:
        raise IdentityProblem(
            f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, so others may have read or changed it. "
            f"Run 'chmod {mode:04o} {path}' if you know that nobody did."
        )


@contextlib.contextmanager
def passing(data: str) -> Iterator[str]:
    """Give a secret a file name for as long as the block lasts, for interfaces that take nothing else."""
    handle = -1
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("octapi-secret", os.MFD_CLOEXEC)
        name = f"/proc/self/fd/{handle}"
        if not os.access(name, os.R_OK):  # a process that gave up being root cannot open its own descriptors by name
            os.close(handle)
            handle = -1
    if handle < 0:
        handle, name = tempfile.mkstemp(prefix="octapi-")
    try:
        os.write(handle, data.encode())
        yield name
    finally:
        os.close(handle)
        if not name.startswith("/proc/"):
            Path(name).unlink()
