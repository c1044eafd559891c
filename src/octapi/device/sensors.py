"""How a device is doing: free processor, memory and disk, and what its kernel tells of heat and its power supply."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from octapi.device import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: how often a worker tells, in seconds; dispy promises its users one such report every five seconds at most
PERIOD_S = 5.0
#: where the kernel shows its sensors; another place for tests
ROOT = Path("/sys/class")
#: the driver of the Raspberry Pi's power supply alarm
PI_VOLTAGE = "rpi_volt"
#: drivers of sensors in the processor; of others on a mainboard many are not connected, and report 127 degrees
PROCESSORS = {"coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "soc-thermal"}
#: what a thermometer that works can show, in degrees Celsius
PLAUSIBLE_C = (-50.0, 150.0)


class Sensors:
    """The sensors of this device, read at most once in :data:`PERIOD_S`: all who ask in between get the same answer.

    The use of the processor is measured since it was measured last, so everyone who asks for himself would shorten the
    time that the others' figure stands for.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._read_at = float("-inf")
        self._found: dict[str, float] = {}

    def read(self) -> dict[str, float]:
        """Return free CPU in per cent, available memory and disk in bytes, free swap in per cent, and the clock.

        Where the device can tell, also ``temperature`` in degrees Celsius and ``undervoltage``: 1 while its supply is
        weak.  The clock is that of now.
        """
        now = self._clock()
        if now - self._read_at >= PERIOD_S:
            self._read_at, self._found = now, measure()
        return self._found | {"clock": time.time()}


def measure(root: Path = ROOT) -> dict[str, float]:
    """Measure at once; see :meth:`Sensors.read`."""
    found = {
        "cpu": 100.0 - psutil.cpu_percent(),
        "memory": limits.memory_free(psutil.virtual_memory().available),
        "disk": psutil.disk_usage("/").free,
        "swap": 100.0 - psutil.swap_memory().percent,
    }
    optional = {"temperature": temperature(root), "undervoltage": under_voltage(root)}
    return found | {name: float(value) for name, value in optional.items() if value is not None}


def memory_total() -> int:
    """Return how much memory this device, or the container in which this process runs, has; in bytes."""
    return limits.memory_total(psutil.virtual_memory().total)


def temperature(root: Path = ROOT) -> float | None:
    """Return the temperature of the hottest sensor in degrees Celsius, to a tenth; None if there is none.

    All thermal zones count.  psutil leaves them out where there are other sensors, and of those only the processor's
    count.
    """
    zones = [whole(path) for path in root.glob("thermal/thermal_zone*/temp")]
    found = [value / 1000 for value in zones if value is not None]
    read: Callable[[], Mapping[str, Iterable[Any]]] | None = getattr(psutil, "sensors_temperatures", None)
    if read is not None and root == ROOT:
        found += processor_temperatures(read())
    low, high = PLAUSIBLE_C
    return max((round(value, 1) for value in found if low <= value <= high), default=None)


def processor_temperatures(told: Mapping[str, Iterable[Any]]) -> list[float]:
    """Return what the sensors in the processor show, of those that psutil found by the names of their drivers."""
    return [float(row.current) for driver, rows in told.items() if driver in PROCESSORS for row in rows]


def under_voltage(root: Path = ROOT) -> bool | None:
    """Say whether a Raspberry Pi's power supply is too weak now; None on other devices."""
    for directory in root.glob("hwmon/hwmon*"):
        if limits.text(directory / "name") == PI_VOLTAGE:
            found = whole(directory / "in0_lcrit_alarm")
            return None if found is None else bool(found)
    return None


def whole(path: Path) -> int | None:
    """Return the number that a file holds; None if it cannot be read."""
    return limits.number(limits.text(path))
