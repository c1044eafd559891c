"""Lines of a log with their level, where systemd's journal reads them.

A service's line begins with ``<4>`` (warning) or ``<6>`` (information), as ``sd-daemon`` has it, so that
``journalctl -p warning`` shows what somebody should look at.  On a terminal and in a file there is no such mark.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Final

from octapi.text.stderr import say

ERROR, WARNING, INFO = 3, 4, 6
#: words of what goes wrong for good, and of what somebody should look at
WORST: Final = re.compile(r"cannot start|did not start|ended by itself|was removed from|is broken", re.IGNORECASE)
BAD: Final = re.compile(
    r"refused|\bcannot\b|could not|failed|\blost\b|hung up|went away|no page|no history|SSH is off|is full"
    r"|waiting for the master|does not answer|no sign of life|--insecure|under-voltage|too much|too often"
    r"|ignored|killed",
    re.IGNORECASE,
)


def level_of(text: str) -> int:
    """Return the level of a line, by its words."""
    if WORST.search(text):
        return ERROR
    return WARNING if BAD.search(text) else INFO


def is_journal(stream: str | None = None) -> bool:
    """Say whether stderr is systemd's journal: its device and inode are what the service was told."""
    told = os.environ.get("JOURNAL_STREAM", "") if stream is None else stream
    try:
        facts = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or there is none
        return False
    return told == f"{facts.st_dev}:{facts.st_ino}"


def log(text: str, level: int | None = None) -> None:
    """Write lines of a log to stderr, with their ``level``, by default that of their words, if that is the journal."""
    mark = f"<{level_of(text) if level is None else level}>" if is_journal() else ""
    say("\n".join(f"{mark}{line}" for line in text.split("\n")))
