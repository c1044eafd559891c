"""Counts of jobs as their batches end, at a worker and at the master."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: why a job's process ended before the job did, as it is counted
CAUSES = ("timeout", "cancelled", "dropped", "frozen", "memory", "signal", "exit")

#: the most jobs that a batch can have
MOST = 1 << 32


class JobCounters:
    """How many jobs ended well, ended in an error, or were killed, and by what.

    A job that is tried again elsewhere after it was killed counts as killed each time.
    """

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self.killed: Counter[str] = Counter(dict.fromkeys(CAUSES, 0))

    def end(self, reason: str, stop: object, info: Mapping[str, object]) -> None:
        """Count a batch that ran from job ``info["first"]`` until before ``stop``, of which ``info["failed"]`` failed.

        What a worker tells need not make sense: numbers that do not count as none.
        """
        ended = max(0, whole(stop) - whole(info.get("first")))
        failed = min(whole(info.get("failed")), ended)
        self.done += ended - failed
        self.failed += failed
        if reason == "died" or (reason == "dropped" and info.get("ran_s")):
            self.killed[cause(info)] += 1


def whole(value: object) -> int:
    """Return a number of jobs; 0 for what is none."""
    return min(max(0, value), MOST) if isinstance(value, int) else 0


def cause(info: Mapping[str, object]) -> str:
    """Return why a job's process ended, from what its agent tells: one of :data:`CAUSES`."""
    why = info.get("why")
    if why in CAUSES:
        return str(why)
    if info.get("out_of_memory"):
        return "memory"
    return "exit" if info.get("signal") is None else "signal"
