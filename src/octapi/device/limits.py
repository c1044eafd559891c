"""What a container may use of its device: cores, memory, and whether the kernel has killed for want of memory.

Read from control groups of version 2 (cgroup(7)) and 1, where a container sees its own at the root; ``root`` is another
place for tests.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
#: version 1 says "no limit" with a number of about this size, in bytes
NO_LIMIT = 1 << 60


def text(*places: Path) -> str:
    """Return the first of these files that can be read; an empty text if none can."""
    for place in places:
        try:
            return place.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
    return ""


def number(found: str) -> int | None:
    """Return a number that a file holds; None for ``max`` or anything else."""
    return int(found) if found.lstrip("-").isdigit() else None


def field(found: str, name: str) -> int | None:
    """Return one entry of a file with ``name number`` in each line."""
    rows = (line.split() for line in found.splitlines())
    return next((number(row[1]) for row in rows if len(row) == 2 and row[0] == name), None)


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return how many cores may be used at once, such as 0.5; None without a limit."""
    found = text(root / "cpu.max").split()
    if len(found) != 2:
        found = [text(root / "cpu" / "cpu.cfs_quota_us"), text(root / "cpu" / "cpu.cfs_period_us")]
    quota, period = number(found[0]), number(found[1])
    return quota / period if quota is not None and quota > 0 and period else None


def cores(root: Path = ROOT) -> int:
    """Return how many processes can run at once here: a part of a core counts as one."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return here if quota is None else max(1, min(here, math.ceil(quota)))


def memory_limit(root: Path = ROOT) -> int | None:
    """Return how much memory may be used, in bytes; None without a limit."""
    found = number(text(root / "memory.max", root / "memory" / "memory.limit_in_bytes"))
    return found if found is not None and found < NO_LIMIT else None


def memory_used(root: Path = ROOT) -> int:
    """Return how much memory is used that cannot be given back at once, in bytes."""
    used = number(text(root / "memory.current", root / "memory" / "memory.usage_in_bytes")) or 0
    kept = text(root / "memory.stat", root / "memory" / "memory.stat")
    cached = field(kept, "total_inactive_file") or field(kept, "inactive_file") or 0
    return max(0, used - cached)


def memory_total(device: int, root: Path = ROOT) -> int:
    """Return how much of the device's memory this container has, in bytes."""
    limit = memory_limit(root)
    return device if limit is None else min(device, limit)


def memory_free(device: int, root: Path = ROOT) -> int:
    """Return how much memory can still be taken, in bytes; ``device`` is what the device has left."""
    limit = memory_limit(root)
    return device if limit is None else max(0, min(device, limit - memory_used(root)))


def device_memory(root: Path = ROOT, meminfo: Path = Path("/proc/meminfo")) -> tuple[int, int]:
    """Return total and free memory as this container may use it, in bytes; zeros where the system does not tell."""
    rows = (line.split() for line in text(meminfo).splitlines())
    found = {row[0]: int(row[1]) * 1024 for row in rows if len(row) == 3 and row[1].isdigit()}
    if "MemAvailable:" not in found:
        return 0, 0
    return memory_total(found.get("MemTotal:", 0), root), memory_free(found["MemAvailable:"], root)


def memory_kills(root: Path = ROOT, vmstat: Path = Path("/proc/vmstat")) -> int:
    """Return how often the kernel has killed a process for want of memory, here and on the whole device."""
    own = text(root / "memory.events", root / "memory" / "memory.oom_control")
    return (field(own, "oom_kill") or 0) + (field(text(vmstat), "oom_kill") or 0)


class MemoryKills:
    """Knows whether the kernel has killed for want of memory since this was asked last."""

    def __init__(self) -> None:
        self._seen = memory_kills()

    def have_grown(self) -> bool:
        """Say whether there were any since."""
        before, self._seen = self._seen, memory_kills()
        return self._seen > before


def be_first_to_die() -> None:
    """Let the kernel choose this process before others when memory runs out; every process may ask for that."""
    try:
        Path("/proc/self/oom_score_adj").write_text("900", encoding="ascii")
    except OSError:
        return  # not Linux, or not allowed: then it is the kernel's choice
