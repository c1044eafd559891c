"""Files that travel with jobs by the option ``files``: read again when they changed, known by their content."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from octapi.errors import JobNotSent
from octapi.protocol.computation import File

#: a file that changed less than this before it was read may change again without another time, in nanoseconds
FRESH_NS: Final = 2_000_000_000
#: lists of files of which the digest is remembered
LISTS: Final = 64

Paths = tuple[str, ...]
Stamp = tuple[tuple[int, ...], ...]


def paths_of(files: object) -> tuple[str | Path, ...]:
    """Return the paths that the option ``files`` names: one path, or any number of them.

    Raises TypeError for anything else.
    """
    if isinstance(files, bytes | str | os.PathLike):
        files = (files,)
    if not isinstance(files, Iterable):
        raise TypeError(f"files must be a path or a list of paths, not {type(files).__name__}.")
    return tuple(path if isinstance(path, Path) else os.fsdecode(path) for path in files)


class AttachedFiles:
    """Remembers the digests of files, as long as nothing about the files changes."""

    def __init__(self) -> None:
        self._known: OrderedDict[Paths, tuple[Stamp, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def digest(self, paths: tuple[str | Path, ...]) -> bytes:
        """Return the digest of files as they are now.  Raises :exc:`JobNotSent`, which names the file."""
        if not paths:
            return b""
        full = tuple(str(Path(path).absolute()) for path in paths)
        stamp = stamps(full)
        with self._lock:
            known = self._known.get(full)
        if known is not None and known[0] == stamp:
            return known[1]
        return self.read(full)[1]

    def read(self, paths: tuple[str | Path, ...]) -> tuple[tuple[File, ...], bytes]:
        """Read files and return them with their digest.  Raises :exc:`JobNotSent`, which names the file."""
        full = tuple(str(Path(path).absolute()) for path in paths)
        stamp, now = stamps(full), time.time_ns()
        files = tuple(map(read_file, full))
        check_names(files, full)
        found = digest_of(files)
        if all(0 <= facts[0] < now - FRESH_NS for facts in stamp) and stamp == stamps(full):
            with self._lock:
                self._known[full] = stamp, found
                while len(self._known) > LISTS:
                    self._known.popitem(last=False)
        return files, found


def stamps(paths: Paths) -> Stamp:
    """Return what tells that files changed.  Raises :exc:`JobNotSent`."""
    found = []
    for path in paths:
        try:
            facts = Path(path).stat()
        except OSError as error:
            raise unreadable(path, error) from None
        latest = max(facts.st_mtime_ns, facts.st_ctime_ns)
        found.append((latest, facts.st_mtime_ns, facts.st_size, facts.st_ino, facts.st_dev, facts.st_mode))
    return tuple(found)


def read_file(path: str) -> File:
    """Read one file, which arrives under the last part of its path.  Raises :exc:`JobNotSent`."""
    try:
        facts = Path(path).stat()
        return File(Path(path).name, Path(path).read_bytes(), facts.st_mode & 0o777, facts.st_mtime)
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: str, error: OSError) -> JobNotSent:
    """Return the error for a file that cannot be sent."""
    why = error.strerror or str(error)
    return JobNotSent(f"The file {path}, which the option files names, cannot be read here: {why}.")


def check_names(files: tuple[File, ...], paths: Paths) -> None:
    """Refuse two files that would arrive under one name.  Raises :exc:`JobNotSent`."""
    seen: dict[str, str] = {}
    for file, path in zip(files, paths, strict=True):
        other = seen.setdefault(file.path, path)
        if other != path:
            raise JobNotSent(f"The files {other} and {path} would both arrive as {file.path}. Rename one of them.")


def digest_of(files: Iterable[File]) -> bytes:
    """Return a digest of files: of their names, modes and content."""
    found = hashlib.blake2b(digest_size=16)
    for file in files:
        found.update(repr((file.path, file.mode, len(file.data))).encode())
        found.update(file.data)
    return found.digest()
