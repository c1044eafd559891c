"""Sizes and times as people read them, and as they write them."""

from __future__ import annotations

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


def rough_time(seconds: float) -> str:
    """Write a time in its largest unit of which there are two: ``90 s``, ``2 min``, ``5 h``, ``3 days``."""
    for size, unit in ((DAY_S, "days"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def ago(seconds: float) -> str:
    """Say how long ago something was: ``just now``, ``5 minutes ago``, ``2 hours ago``, ``3 days ago``."""
    for size, unit in ((DAY_S, "days"), (HOUR_S, "hours"), (MINUTE_S, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"


def work_time(seconds: float) -> str:
    """Write how much work something was, to a tenth: ``12.0 s``, ``2.5 min``, ``3.1 h``."""
    if seconds < 2 * MINUTE_S:
        return f"{seconds:.1f} s"
    return f"{seconds / MINUTE_S:.1f} min" if seconds < 2 * HOUR_S else f"{seconds / HOUR_S:.1f} h"


def clock_time(seconds: float) -> str:
    """Write how long something took as a clock shows it: ``12 s``, ``2:05 min``, ``3:07 h``."""
    total = max(0, round(seconds))
    if total < MINUTE_S:
        return f"{total} s"
    if total < HOUR_S:
        return f"{total // MINUTE_S}:{total % MINUTE_S:02} min"
    return f"{total // HOUR_S}:{total % HOUR_S // MINUTE_S:02} h"


def days(seconds: float) -> str:
    """Write a time in whole days: ``30 days``."""
    return f"{seconds / DAY_S:.0f} days"


def byte_size(count: float) -> str:
    """Write a number of bytes with a unit, as dispy does: ``512 B``, ``1.5 K``, ``2.0 G``."""
    for power, unit in ((4, "T"), (3, "G"), (2, "M"), (1, "K")):
        if count > 1024**power:
            return f"{count / 1024**power:.1f} {unit}"
    return f"{int(count)} B"


def seconds_of(text: str) -> float:
    """Return seconds for ``90``, ``15m``, ``24h`` or ``30d``.  Raises ValueError for anything else."""
    units: dict[str, float] = {"s": 1, "m": MINUTE_S, "h": HOUR_S, "d": DAY_S}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    return float(number) * units[unit]
