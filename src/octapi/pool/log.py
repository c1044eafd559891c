"""What a pool says that went wrong: in a worker's log, or to the person whose script has a pool of its own."""

from __future__ import annotations

import logging

from octapi.telemetry import logs
from octapi.text import stderr

log = logging.getLogger("octapi.pool")


def warn(text: str) -> None:
    """Say that something went wrong; a script's own logging is left alone."""
    if logs.of_process() is None:
        stderr.say(f"octapi worker: {text}")
    else:
        log.warning(text, extra=logs.LINES)
