"""What workers need to run the jobs of one function."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgpack

from octapi.device import files
from octapi.errors import JobError
from octapi.protocol.checked import (
    BYTES,
    TEXT,
    blob,
    boolean,
    choice,
    integer,
    left_out,
    listing,
    maybe,
    row,
    table,
    text,
)
from octapi.protocol.specs import FILES, MOST, TIME_LIMIT
from octapi.protocol.wire import unpacked

if TYPE_CHECKING:
    from octapi.protocol.checked import Reader

FUNCTION = "function"
#: each job brings its own function
CALL = "call"
SOURCE = "source"
PROGRAM = "program"
KINDS = (FUNCTION, CALL, SOURCE, PROGRAM)


def safe(path: str) -> Path:
    """Return ``path`` if it stays below its directory.  Raises :exc:`JobError` otherwise."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise JobError(f"The file name {path!r} leaves the job's directory. Give a relative name without '..'.")
    return Path(pure)


@dataclass(frozen=True, slots=True)
class File:
    """A file that travels with a computation or a job.

    ``path`` is relative to the computation's directory, with ``/`` between its parts; ``mode``
    are the permission bits and ``mtime`` is in epoch seconds.
    """

    path: str
    data: bytes
    mode: int = 0o644
    mtime: float = 0.0

    def place(self, root: Path) -> Path:
        """Write it below ``root``, whole, and return where.  Raises :exc:`JobError` for a path that leaves ``root``."""
        target = root / safe(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        files.replace(target, self.data, self.mode & 0o777, mtime=self.mtime)
        return target

    def row(self) -> tuple[str, bytes, int, float]:
        """Return what travels of it; ``File(*row)`` is the file again."""
        return self.path, self.data, self.mode, self.mtime

    @classmethod
    def read(cls, source: Path, path: str) -> File:
        """Read a file of this computer that is to travel as ``path``.  Raises OSError."""
        facts = source.stat()
        return cls(path, source.read_bytes(), facts.st_mode & 0o777, facts.st_mtime)


def frozen(reader: Reader) -> Reader:
    """Read a list as a tuple."""
    return lambda value: tuple(reader(value))


def read_files(value: Any) -> tuple[File, ...]:
    """Read files that travel."""
    return tuple(File(*facts) for facts in FILES(value))


#: a name, a path, an argument of a script; source text may be longer
WORDS: Final = text(TEXT)
SOURCE_TEXT: Final = text(BYTES)


@dataclass(frozen=True, slots=True)
class Computation:
    """A function (or source text, or a program) with its files and its setup.

    ``kind`` says how ``code`` is to be read: ``function`` is a cloudpickle, ``call`` has none (the payload of each
    job is a pickle of ``(function, args, kwargs)``), ``source`` is UTF-8
    source text that is executed with ``__name__ == "__main__"`` and in which ``entry`` names the
    callable, ``program`` runs the file ``entry``.  ``forked`` loads it once and forks each job, as
    ``setup`` and ``cleanup`` do.  ``python_bound`` marks code that only the same
    Python minor version can load.  ``sources`` are pairs of file name and text of the code in
    it, for tracebacks; ``argv`` is the script's ``sys.argv``; ``logging`` is the level and the format
    of the script's root logger, if it has a handler.
    """

    kind: Annotated[str, choice(*KINDS)]
    name: Annotated[str, WORDS]
    code: Annotated[bytes, blob()] = b""
    entry: Annotated[str, WORDS] = ""
    files: Annotated[tuple[File, ...], read_files] = ()
    preimport: Annotated[bool, boolean] = False
    setup: Annotated[str, SOURCE_TEXT] = ""
    cleanup: Annotated[str, SOURCE_TEXT] = ""
    setup_args: Annotated[bytes, blob()] = b""
    dest: Annotated[str, WORDS] = ""
    keep_files: Annotated[bool, boolean] = False
    python_bound: Annotated[bool, boolean] = False
    forked: Annotated[bool, boolean] = False
    timeout_s: Annotated[float | None, TIME_LIMIT] = None
    python: Annotated[str, text(60)] = platform.python_version()
    paths: Annotated[tuple[str, ...], frozen(listing(WORDS, MOST))] = ()
    sources: Annotated[tuple[tuple[str, str], ...], frozen(listing(frozen(row(WORDS, SOURCE_TEXT)), MOST))] = ()
    argv: Annotated[tuple[str, ...], frozen(listing(WORDS, MOST))] = ()
    logging: Annotated[tuple[int, str] | None, maybe(frozen(row(integer(), WORDS)))] = None

    def to_bytes(self) -> bytes:
        """Pack it for the wire; no pickle, because agents read it."""
        plain: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["files"] = [file.row() for file in self.files]
        packed: bytes = msgpack.packb(plain)
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Computation:
        """Read what :meth:`to_bytes` packed, ignoring fields of later releases.  Raises :exc:`MessageRefused`."""
        return cls(**computation_facts(unpacked(data)))

    def digest(self) -> str:
        """Return the content hash by which workers know it (32 hexadecimal digits)."""
        return hashlib.blake2b(self.to_bytes(), digest_size=16).hexdigest()


computation_facts: Final = table(Computation, ("kind", "name"), left_out)


def minor(python: str) -> tuple[str, ...]:
    """Return the part of a Python version that bytecode depends on: ``("3", "13")``."""
    return tuple(python.split(".")[:2])
