"""The worker's own guard of its memory: it stops one job before the kernel stops something else.

A slot that holds more than its limit is killed; when the device runs full, the youngest of the jobs that hold much is.
Both are reported as out of memory, with the most that the process held.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from octapi.device import limits
from octapi.protocol.exits import KilledFor
from octapi.settings import Settings

if TYPE_CHECKING:
    from octapi.pool.agent import Agent
    from octapi.pool.processes import SlotProcess

MEGABYTE: Final = 1 << 20
#: how often memory is looked at while jobs run, in seconds; a job that allocates fills a gigabyte in less
PERIOD_S: Final = 0.3
#: after a job was killed its memory takes a moment to come back, in seconds
SETTLE_S: Final = 1.0
#: the floor unless it is set: this part of the memory, within these bounds, in bytes
PART: Final = 40
LEAST, MOST = 24 * MEGABYTE, 512 * MEGABYTE

PROC = Path("/proc")


def floor_of(total: int, wanted_mb: int) -> int:
    """Return how many bytes are to stay free on a device with ``total`` bytes."""
    return wanted_mb * MEGABYTE if wanted_mb else max(LEAST, min(total // PART, MOST))


def oom_candidate(held: list[tuple[float, int]], floor: int) -> int | None:
    """Return which job to stop, of those with (start, bytes held): the youngest that holds much; None if none does.

    Much is half of what the greediest holds: to stop a small one would free nothing, and the next would follow.
    """
    most = max((size for _, size in held), default=0)
    if most < floor // 2:
        return None
    young = [(start, place) for place, (start, size) in enumerate(held) if size >= most / 2]
    return max(young)[1]


def held_by(pid: int) -> int:
    """Return how many bytes a process holds by itself; 0 if that is not known."""
    try:
        fields = (PROC / str(pid) / "statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGESIZE")


class MemoryGuard:
    """Looks at the memory of one agent's slots."""

    def __init__(self, agent: Agent) -> None:
        settings = Settings.load()
        self._agent = agent
        #: the most that one result may take, in bytes
        self.largest = settings.largest_mb * MEGABYTE
        self.limit = settings.slot_memory_mb * MEGABYTE
        self._floor_mb = settings.memory_floor_mb
        self._next = 0.0

    def look(self, now: float) -> None:
        """Stop a job if there is too little memory; ``now`` is the loop's time."""
        if now < self._next:
            return
        self._next = now + PERIOD_S
        busy = [child for child in self._agent.children if child.batch is not None and child.pid]
        sizes = {child: self.held(child) for child in busy}
        for child, size in sizes.items():
            if self.limit and size > self.limit:
                self._kill(child, KilledFor.MEMORY_LIMIT)
        total, free = limits.device_memory()
        if not total or free >= floor_of(total, self._floor_mb):
            return
        found = oom_candidate([(child.batch.started, sizes[child]) for child in busy], floor_of(total, 0))
        if found is not None:
            self._kill(busy[found], KilledFor.MEMORY)
            self._next = now + SETTLE_S

    def held(self, child: SlotProcess) -> int:
        """Return how many bytes a slot holds by itself, with its job's process; 0 if that is not known."""
        size = sum(held_by(pid) for pid in (child.pid, child.job_pid) if pid)
        child.most = max(child.most, size)
        return size

    def _kill(self, child: SlotProcess, why: KilledFor) -> None:
        if not child.killed_for:
            child.most = max(child.most, peak(child.job_pid))
            child.kill_for(why)


def peak(pid: int) -> int:
    """Return the most that a process has held so far, in bytes; 0 if that is not known."""
    found = limits.field(limits.text(PROC / str(pid) / "status").replace(":", " ").replace(" kB", ""), "VmHWM")
    return (found or 0) * 1024 if pid else 0


def is_stopped(pid: int) -> bool:
    """Say whether a process was stopped from outside, as SIGSTOP does."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[:1] in (["T"], ["t"])
