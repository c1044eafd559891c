"""What watchers see: rows by name, and what has changed of them from one moment to the next."""

from __future__ import annotations

from typing import Any, Final

#: how often watchers are told, in seconds
TICK_S: Final = 0.4
#: how many samples of the use are kept: ten minutes
SAMPLES: Final = 120

View = dict[str, dict[str, Any]]


def differences(old: View, new: View) -> tuple[View, list[str]]:
    """Return what has changed of each row, and the names of rows that are gone."""
    changed: View = {}
    for name, row in new.items():
        known = old.get(name)
        fresh = row if known is None else {key: value for key, value in row.items() if known.get(key) != value}
        if fresh:
            changed[name] = fresh
    return changed, [name for name in old if name not in new]


def strain(health: dict[str, Any], memory: int) -> tuple[int | None, int | None]:
    """Return load and used memory in percent, from the free shares that a worker tells."""
    cpu, free = health.get("cpu"), health.get("memory")
    load = None if cpu is None else round(100 - cpu)
    return load, (None if free is None or not memory else round(100 * (1 - free / memory)))
