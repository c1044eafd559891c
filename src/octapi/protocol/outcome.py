"""What came of a job, by kind; what it left behind; and the workers that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from octapi.protocol.checked import as_it_is, by_type, integer

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


PRINTED: Final = by_type({str: as_it_is, bytes: as_it_is})  # the frame that they came in bounds them


class Extra(NamedTuple):
    """What a job left behind besides its result: its output, a program's as bytes, and its peak memory in bytes."""

    stdout: Annotated[str | bytes, PRINTED]
    stderr: Annotated[str | bytes, PRINTED]
    memory: Annotated[int, integer()]

    def texts(self) -> tuple[str, str]:
        """Return both streams as text."""
        return text_of(self.stdout), text_of(self.stderr)


def text_of(printed: str | bytes) -> str:
    """Return what a job printed as text, whatever its bytes are."""
    return printed.decode("utf-8", "replace") if isinstance(printed, bytes) else printed


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
