"""How a device is doing."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from octapi.device import limits

#: how often a worker tells, in seconds; dispy promises its users one such report every five seconds at most
PERIOD_S = 5.0
SYS = Path("/sys")
#: kinds of thermal zones and sensors that are the processor's, the likeliest first
PROCESSORS = (
    "cpu-thermal",
    "cpu_thermal",
    "soc-thermal",
    "soc_thermal",
    "x86_pkg_temp",
    "coretemp",
    "k10temp",
    "acpitz",
)


def measure() -> dict[str, float]:
    """Measure free CPU in per cent, available memory and disk in bytes, free swap in per cent, and the clock.

    Where the device can tell, also ``temperature`` in degrees Celsius and ``undervoltage``: 1 while its supply is weak.
    """
    found = {
        "cpu": 100.0 - psutil.cpu_percent(),
        "memory": limits.memory_free(psutil.virtual_memory().available),
        "disk": psutil.disk_usage("/").free,
        "swap": 100.0 - psutil.swap_memory().percent,
        "clock": time.time(),
    }
    return found | sensors(SYS)


def sensors(root: Path) -> dict[str, float]:
    """Read the sensors below ``root`` that a device has; every one is optional."""
    found: dict[str, float] = {}
    heat = temperature(root)
    if heat is not None:
        found["temperature"] = heat
    for directory in sorted((root / "class/hwmon").glob("hwmon*")):
        if word(directory / "name") == "rpi_volt":
            found["undervoltage"] = float(word(directory / "in0_lcrit_alarm") == "1")
    return found


def temperature(root: Path) -> float | None:
    """Return the processor's temperature in degrees Celsius; None where nothing tells it."""
    zones = {word(zone / "type"): zone for zone in sorted((root / "class/thermal").glob("thermal_zone*"))}
    for kind in (*(kind for kind in PROCESSORS if kind in zones), *zones):
        text = word(zones[kind] / "temp")
        if text.lstrip("-").isdigit():
            return round(int(text) / 1000, 1)
    return None


def word(path: Path) -> str:
    """Return what a file of the kernel holds; an empty text if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
