"""How a device is doing."""

from __future__ import annotations

import psutil

from octapi import limits

#: how often a worker tells, in seconds; dispy promises its users one such report every five seconds at most
PERIOD_S = 5.0


def measure() -> dict[str, float]:
    """Measure free CPU in per cent, available memory and disk in bytes, free swap in per cent."""
    return {
        "cpu": 100.0 - psutil.cpu_percent(),
        "memory": limits.memory_free(psutil.virtual_memory().available),
        "disk": psutil.disk_usage("/").free,
        "swap": 100.0 - psutil.swap_memory().percent,
    }
