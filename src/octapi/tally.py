"""Counts of jobs as their batches end, at a worker and at the master."""

from __future__ import annotations

from collections import Counter
from typing import Any

#: why a job's process ended before the job did, as it is counted
CAUSES = ("timeout", "cancelled", "dropped", "memory", "signal", "exit")


class Tally:
    """How many jobs ended well, ended in an error, or were killed, and by what."""

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self.killed: Counter[str] = Counter(dict.fromkeys(CAUSES, 0))

    def end(self, first: int, reason: str, stop: int, info: dict[str, Any]) -> None:
        """Count a batch that ran from job ``first`` until before ``stop``, of which ``info["failed"]`` failed.

        What a worker tells need not make sense: numbers that do not count as none.
        """
        ended = max(0, stop - first) if isinstance(stop, int) else 0
        failed = info.get("failed", 0)
        failed = min(max(0, failed), ended) if isinstance(failed, int) else 0
        self.done += ended - failed
        self.failed += failed
        if reason == "died":
            self.killed[cause(info)] += 1


def cause(info: dict[str, Any]) -> str:
    """Return why a job's process ended, from what its agent tells: one of :data:`CAUSES`."""
    why = info.get("why")
    if why in CAUSES:
        return str(why)
    if info.get("out_of_memory"):
        return "memory"
    return "exit" if info.get("signal") is None else "signal"
