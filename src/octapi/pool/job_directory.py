"""The directory of a computation on a worker, where its files lie and its jobs run."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi.protocol.computation import PROGRAM, SOURCE, Computation, File, safe
from octapi.settings import Internal, internal

if TYPE_CHECKING:
    from collections.abc import Mapping


def home() -> Path:
    """Return the worker's own directory for computations."""
    return Path(internal(Internal.SLOT_HOME) or tempfile.gettempdir())


def of(computation: Computation, digest: str) -> Path:
    """Return the directory of one computation."""
    return home() / safe(computation.dest or digest)


def write(target: Path, file: File) -> None:
    """Write one file whole, unless it is there already."""
    path = target / safe(file.path)
    with contextlib.suppress(OSError):
        if path.stat().st_size == len(file.data) and path.read_bytes() == file.data:
            return
    file.place(target)


def prepare(computation: Computation, digest: str) -> str:
    """Make the computation's directory with its files, and return its path."""
    target = of(computation, digest)
    target.mkdir(parents=True, exist_ok=True)
    for file in computation.files:
        write(target, file)
    return str(target)


def enter(computation: Computation, home: str, environment: Mapping[str, str]) -> None:
    """Work in a computation's directory, and import from it; ``environment`` is what its jobs find in theirs."""
    os.chdir(home)
    os.environ.update(environment)
    for entry in reversed((home, *computation.paths)):
        if entry not in sys.path:
            sys.path.insert(0, entry)


class JobPlace:
    """What one job has on the disk, for as long as it runs.

    A directory for temporary files, and a working directory with the computation's files, as links.  Jobs that
    travel as source text, and programs, share the working directory of their computation instead.
    """

    def __init__(self, computation: Computation, files: str) -> None:
        self.shares = computation.kind in (SOURCE, PROGRAM)
        self.files = Path(files)
        self.path = home() / f"j{os.getpid()}"

    def enter(self) -> None:
        """Make it, and work in it; in the job's own process."""
        self.path.mkdir(0o700)
        os.environ["TMPDIR"] = str(self.path)
        tempfile.tempdir = None
        work = self.files if self.shares else self.path / "work"
        if not self.shares:
            work.mkdir(0o700)
            for entry in self.files.iterdir():
                (work / entry.name).symlink_to(entry)
        os.chdir(work)

    def remove(self) -> None:
        """Remove it with all that the job left in it; in the slot."""
        try:
            self.path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)


def read_for_client(path: str) -> tuple[str, bytes, int, float]:
    """Read a file for the client: its relative name below the working directory, else its last part."""
    here = Path.cwd()
    full = Path(path).absolute()
    return File.read(full, full.relative_to(here).as_posix() if full.is_relative_to(here) else full.name).row()


def job_code(extra: list[Any]) -> bytes:
    """Place the files of one job, and return its own source text."""
    if not extra:
        return b""
    code, files = extra
    for row in files:
        write(Path.cwd(), File(*row))
    return bytes(code)


def remove_job_files(extra: list[Any]) -> None:
    """Remove the files of one job."""
    for row in extra[1] if extra else ():
        with contextlib.suppress(FileNotFoundError):
            (Path.cwd() / safe(row[0])).unlink()
