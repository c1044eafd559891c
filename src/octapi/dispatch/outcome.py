"""What came of a job, by kind; what it left behind; and the workers that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

VALUE = 0
ERROR = 1
PROGRAM = 2
CANCELLED = 3
FAULT = 4
#: a pickled list of the plain values of consecutive jobs
GROUP = 5

#: a worker's states: it takes batches; it gives no sign of life; it takes no more batches, and has some; has none left
OK, SILENT, DRAINING, DRAINED = "ok", "silent", "draining", "drained"
#: it worked for a master that was started anew, and has not come back to it yet
MISSING = "missing"


class Extra(NamedTuple):
    """What a job left behind besides its result: its output, and its slot's peak memory in bytes."""

    stdout: Any
    stderr: Any
    memory: int


class WorkerInfo(NamedTuple):
    """One worker as clients see it; ``health`` holds free CPU %, available memory and disk in bytes, free swap %.

    ``life`` names one run of its agent, ``state`` is one of those above.
    """

    name: str
    address: str
    host: str
    slots: int
    platform: str
    python: str
    memory: int = 0
    health: Mapping[str, float] = {}
    release: str = ""
    life: str = ""
    state: str = "ok"
