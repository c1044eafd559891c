"""Recovery: what a client leaves behind to be found when it crashes, and the jobs that are found then."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from octapi.client.connect import any_way, way_to
from octapi.client.recovery import recover
from octapi.dispy.job import DispyJob
from octapi.dispy.logger import logger
from octapi.errors import ClusterError, DispyError
from octapi.settings import Settings, default_home

if TYPE_CHECKING:
    from octapi.client.endpoint import MasterEndpoint
    from octapi.client.recovery import Recovered

PATTERN = "_dispy_*"
#: below OctaPi's own files, for scripts in directories where they may not write
ELSEWHERE = "recover"


class RecoverFile:
    """The file that says at which master, and by which secret, this client's jobs can be found."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: str | os.PathLike[str] | None, facts: dict[str, str]) -> RecoverFile | None:
        """Write it, readable by its owner only.  Raises :exc:`DispyError` if ``path`` was given and cannot be made."""
        place = Path(path) if path else place_for(time.strftime("_dispy_%Y%m%d%H%M%S"))
        try:
            if path is None:
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if path is None:
                return cls.create(f"{place}_{os.getpid()}", facts)
            fd = os.open(place, os.O_WRONLY | os.O_TRUNC)
        except OSError as error:
            if path is None:
                logger.warning("No recovery file here (%s): jobs cannot be recovered if this script crashes", error)
                return None
            raise DispyError(f"Could not create recover file {place}: {error}") from error
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(facts, file)
        return cls(place)

    def remove(self) -> None:
        """Remove it: the script ended as it should."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def place_for(name: str) -> Path:
    """Return where a recovery file goes: here, or where nothing can be written here, below OctaPi's own files."""
    here = Path.cwd()
    return (here if os.access(here, os.W_OK) else default_home() / ELSEWHERE) / name


def newest() -> Path | None:
    """Return the newest recovery file of the working directory, or of those that could not be written in theirs."""
    for place in (Path.cwd(), default_home() / ELSEWHERE):
        found = sorted(place.glob(PATTERN), key=lambda path: path.stat().st_mtime)
        if found:
            return found[-1]
    return None


def recover_jobs(
    recover_file: str | os.PathLike[str] | None = None, timeout: float | None = None, terminate_pending: bool = False
) -> list[DispyJob]:
    """Return the jobs that a crashed script had on nodes, once they are done.

    ``recover_file`` is the script's, or by default the newest here; ``timeout`` is in seconds;
    ``terminate_pending`` stops what then still runs.  Jobs have fresh ids and no arguments.
    Without a readable file it prints why and returns an empty list.
    """
    path = Path(recover_file) if recover_file else newest()
    try:
        if path is None:
            raise FileNotFoundError(f"no {PATTERN} file in {Path.cwd()}")
        facts = json.loads(path.read_text(encoding="utf-8"))
        found = recover(way_back(facts["address"]), {"token": facts["token"]}, timeout, terminate_pending, job_of)
    except (OSError, ValueError, KeyError, ClusterError) as error:
        print(f"Could not recover jobs from {path}: {error}")
        return []
    jobs, complete = found
    if complete:
        RecoverFile(path).remove()
    return jobs


def way_back(address: str) -> MasterEndpoint:
    """Return the way to the master of a recovery file; on another computer it is this login's own."""
    if address.endswith(".json") and not Path(address).exists():
        return any_way("", Settings.load())
    return way_to(address)


def job_of(found: Recovered) -> DispyJob:
    """Make a job of an outcome that was found."""
    job = DispyJob()
    job.resolve(found.kind, found.data, found.started, found.ended, found.worker, found.extra)
    return job
