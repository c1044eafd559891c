"""What is said about the jobs of one cluster that failed, in one line."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import octapi

if TYPE_CHECKING:
    from octapi.dispy.job import DispyJob

PLACE = re.compile(r'File "(?P<file>[^"\n]+)", line (?P<line>\d+)')
#: frames of these files are not the script's
OURS = str(Path(octapi.__file__).parent)
#: of a longer message only so many characters are shown
LONGEST = 300


class Failures:
    """Counts failed jobs, and keeps the reason of the first."""

    def __init__(self) -> None:
        self.count = 0
        self._first = ""

    def add(self, job: DispyJob, node: str) -> None:
        """Take note of a job that has ended; those that did not fail, or that the script cancelled, do not count."""
        if not job.exception or job._status == job.Finished:
            return
        if not self.count:
            self._first = reason(job.exception) + (f" on {node}" if node else "")
        self.count += 1

    def summary(self, total: int, name: str) -> str:
        """Return the line about ``total`` jobs of the computation ``name``; an empty one if none failed."""
        return f"{self.count} of {total} jobs of {name} failed; the first: {self._first}" if self.count else ""


def reason(text: str) -> str:
    """Return the last line of a traceback, with the place where it was raised."""
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "\t", "("))] or [text.strip()]
    last = lines[-1] if len(lines[-1]) <= LONGEST else lines[-1][: LONGEST - 3] + "..."
    places = [place for place in PLACE.findall(text) if not place[0].startswith(OURS)]
    return f"{last} (line {places[-1][1]} of {PurePath(places[-1][0]).name})" if places else last
