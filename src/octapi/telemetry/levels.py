"""Levels of a service's lines where systemd's journal reads them.

A line begins with ``<4>`` (warning) or ``<6>`` (information), as ``sd-daemon`` has it, so that ``journalctl -p
warning`` shows what somebody should look at.  On a terminal and in a file there is no such mark.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

#: from the highest on: what ``logging`` calls a level at least, and the priority that syslog gives it
PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
DEBUG: Final = 7


def priority(level: int) -> int:
    """Return syslog's priority of a level of ``logging``."""
    return next((number for least, number in PRIORITIES if level >= least), DEBUG)


def marked(text: str, level: int) -> str:
    """Return lines as the journal reads them: each with its level."""
    mark = f"<{priority(level)}>"
    return "\n".join(f"{mark}{line}" for line in text.split("\n"))


def is_journal(stream: TextIO | None = None, told: str | None = None) -> bool:
    """Say whether a stream, by default stderr, is systemd's journal: ``told`` is its device and inode.

    By default that is what systemd told this service.
    """
    told = os.environ.get("JOURNAL_STREAM", "") if told is None else told
    try:
        status = os.fstat((stream or sys.stderr).fileno())
    except (OSError, ValueError, AttributeError):  # closed, or there is none
        return False
    return told == f"{status.st_dev}:{status.st_ino}"
