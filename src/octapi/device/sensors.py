"""What a device's kernel tells of its heat and its power supply; ``root`` is another place for tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/class")
#: the driver of the Raspberry Pi's power supply alarm
PI_VOLTAGE = "rpi_volt"


def whole(path: Path) -> int | None:
    """Return the number that a file holds; None if it cannot be read."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def temperature(root: Path = ROOT) -> float | None:
    """Return the temperature of the hottest sensor in degrees Celsius; None if there is none."""
    found = [whole(path) for path in root.glob("thermal/thermal_zone*/temp")]
    return max((value / 1000 for value in found if value is not None), default=None)


def under_voltage(root: Path = ROOT) -> bool | None:
    """Say whether a Raspberry Pi's power supply is too weak now; None on other devices."""
    for directory in root.glob("hwmon/hwmon*"):
        try:
            name = (directory / "name").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if name == PI_VOLTAGE:
            found = whole(directory / "in0_lcrit_alarm")
            return None if found is None else bool(found)
    return None
