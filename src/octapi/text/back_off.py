"""A wait is told rarely when nothing changes: its line comes again later and later."""

from __future__ import annotations

import re
from typing import Final

#: how long a wait may last before it is told, and how soon a new cause is told after another, in seconds
FIRST_S: Final = 2.0
#: how soon a wait is told again, twice as late each time, and how late at most, in seconds
AGAIN_S: Final = 5.0
LATEST_S: Final = 60.0
#: what counts or measures in a text, such as the jobs that wait; digits of a name are none
NUMBERS: Final = re.compile(r"(?<![\w.-])\d[\d,]*(?![\w-])")


class BackOff:
    """When a wait is told again: after 5 s, 10, 20, 40, then each minute, and early again when its cause changes."""

    def __init__(self) -> None:
        self._cause: str | None = None
        self._told: float | None = None
        self._pause_s = FIRST_S

    def is_due(self, cause: str, now: float, in_place: bool = False) -> bool:
        """Say whether this cause is to be told at this time, in seconds; what is told in place is kept fresh."""
        if cause != self._cause:
            self._cause, self._pause_s = cause, FIRST_S
        pause_s = min(self._pause_s, AGAIN_S) if in_place else self._pause_s
        if self._told is not None and now - self._told < pause_s:
            return False
        self._told = now
        self._pause_s = AGAIN_S if self._pause_s == FIRST_S else min(2 * self._pause_s, LATEST_S)
        return True


def cause_of(text: str) -> str:
    """Return what a reason says besides how many and how long."""
    return NUMBERS.sub("#", text)
