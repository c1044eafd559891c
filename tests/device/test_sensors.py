"""What a device measures of itself, and that all who ask hear the same."""

from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from octapi.device import sensors
from octapi.telemetry import exposition
from octapi.worker.collector import WorkerCollector

Shown = namedtuple("Shown", "label current")


def board(root: Path, zones: dict[str, str], alarm: str | None = None) -> Path:
    """Make up what the kernel of a board shows in /sys/class."""
    for number, (kind, heat) in enumerate(zones.items()):
        zone = root / f"thermal/thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(kind + "\n")
        (zone / "temp").write_text(heat + "\n")
    for number, name in enumerate(("cpu_thermal", "rpi_volt")[: 2 if alarm else 1]):
        chip = root / f"hwmon/hwmon{number}"
        chip.mkdir(parents=True)
        (chip / "name").write_text(name + "\n")
    if alarm:
        (root / "hwmon/hwmon1/in0_lcrit_alarm").write_text(alarm + "\n")
    return root


def test_the_hottest_zone_counts_and_the_supply_is_found_by_its_drivers_name(tmp_path: Path) -> None:
    root = board(tmp_path, {"cpu-thermal": "52000", "gpu-thermal": "71234", "x": "broken", "y": "255000"}, alarm="1")
    assert sensors.temperature(root) == 71.2
    assert sensors.under_voltage(root) is True
    found = sensors.measure(root)
    assert (found["temperature"], found["undervoltage"]) == (71.2, 1.0)


def test_a_device_without_sensors_tells_nothing_of_them(tmp_path: Path) -> None:
    root = board(tmp_path, {"cpu-thermal": "hot"})
    assert sensors.temperature(root) is None
    assert sensors.under_voltage(root) is None
    assert set(sensors.measure(root)) == {"cpu", "memory", "disk", "swap"}


def test_of_the_sensors_on_a_mainboard_only_the_processors_count(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"k10temp": [Shown("Tctl", 61.0), Shown("Tccd1", 64.5)], "nct6775": [Shown("AUXTIN0", 127.0)]}
    assert sensors.processor_temperatures(told) == [61.0, 64.5]
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: told, raising=False)
    assert (sensors.temperature() or 0) >= 64.5


def test_the_page_and_prometheus_hear_one_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """One who asks soon after another gets the other's figures, and does not shorten the time they stand for."""
    asked = []
    monkeypatch.setattr(sensors, "measure", lambda: asked.append(1) or {"cpu": float(len(asked)), "memory": 1.0})
    now = [100.0]
    here = sensors.Sensors(clock=lambda: now[0])
    assert here.read()["cpu"] == 1.0
    now[0] += sensors.PERIOD_S / 2
    assert here.read()["cpu"] == 1.0
    now[0] += sensors.PERIOD_S / 2
    assert here.read()["cpu"] == 2.0
    assert len(asked) == 2


def test_a_worker_tells_its_master_and_monitoring_systems_the_same_heat(tmp_path: Path) -> None:
    root = board(tmp_path, {"cpu-thermal": "52000", "gpu-thermal": "71000"}, alarm="0")
    here = sensors.Sensors()
    here._read_at, here._found = here._clock(), sensors.measure(root)

    class Resumable:
        agent, is_connected, slots = None, True, 1
        sensors = here

    class Member:
        class identity:  # noqa: N801 - the name of a field
            name, cluster, ends = "red", "c", 0.0

    state = WorkerCollector(Resumable()).state(Member())  # type: ignore[arg-type]
    assert (state.temperature, state.under_voltage) == (71.0, 0.0)
    assert (here.read()["temperature"], here.read()["undervoltage"]) == (71.0, 0.0)
    assert "octapi_worker_temperature_celsius 71" in exposition.worker(state)
