"""The configuration under deploy/monitoring with a real Prometheus and a real node_exporter."""

import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.harness import Running, Yard, until
from tests.telemetry.test_metrics import MIXED, door_of

DEPLOY = Path(__file__).parents[2] / "deploy"
CONFIG = DEPLOY / "monitoring"
DASHBOARD = CONFIG / "grafana/dashboards/octapi.json"
#: what only devices with the sensors for it tell
SENSORS = ("octapi_worker_temperature_celsius", "octapi_worker_under_voltage")


def tool(name: str) -> str:
    """Return where a program is; without it the test is skipped on a laptop, and fails in CI."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is missing; scripts/test gets it")
        pytest.skip(f"{name} is not here; scripts/test gets it")
    return found


class Watched(NamedTuple):
    """A cluster that a Prometheus watches at ``port``."""

    yard: Yard
    port: int
    config: Path
    exporter: int
    has_sensors: bool
    prefix: tuple[str, ...]

    def ask(self, path: str, **parameters: str) -> Any:
        """Ask Prometheus's interface."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=20) as answer:
            return json.load(answer)["data"]

    def targets(self) -> list[tuple[str, str, str]]:
        """Return job, worker and health of everything that is scraped."""
        found = self.ask("targets", state="active")["activeTargets"]
        return sorted((row["labels"]["job"], row["labels"].get("worker", ""), row["health"]) for row in found)


def listening(running: Running) -> int:
    """Return the port that the system chose for a program of Prometheus's makers."""
    said = running.until_says('msg="Listening on" address=127.0.0.1:')
    return int(said.split('msg="Listening on" address=127.0.0.1:')[1].split()[0])


def sensors(place: Path) -> tuple[str, ...]:
    """Return a command that starts another on a device with the sensors of a Raspberry Pi; empty where it cannot.

    The kernel's directory is replaced for that process and those that it starts, and for nobody else.
    """
    for name, text in (
        ("thermal/thermal_zone0/temp", "48312\n"),
        ("hwmon/hwmon0/name", "rpi_volt\n"),
        ("hwmon/hwmon0/in0_lcrit_alarm", "0\n"),
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    command = ("unshare", "--mount", "sh", "-c", f'mount --bind {place} /sys/class && exec "$@"', "sh")
    done = subprocess.run(
        [*command, "cat", "/sys/class/hwmon/hwmon0/name"], capture_output=True, text=True, check=False
    )
    return command if done.stdout == "rpi_volt\n" else ()


def adapted(place: Path, door: int) -> Path:
    """Write the configuration as a person adapts it: addresses and paths, and shorter pauses for the test."""
    text = (CONFIG / "prometheus.yml").read_text()
    for old, new in (
        ("master:8790", f"127.0.0.1:{door}"),
        ("/monitoring/", f"{place}/shared/"),
        ("interval: 15s", "interval: 1s"),
    ):
        assert old in text
        text = text.replace(old, new)
    shutil.copy(CONFIG / "rules.yml", place / "rules.yml")
    (place / "prometheus.yml").write_text(text)
    return place / "prometheus.yml"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Start a master, two workers, a node_exporter and a Prometheus, and let some jobs run."""
    programs = [tool(name) for name in ("prometheus", "prometheus-node-exporter", "promtool")]
    place = tmp_path_factory.mktemp("watched")
    yard = Yard(place)
    try:
        prefix = sensors(place / "class")
        yard.running.append(Running([programs[1], "--web.listen-address=127.0.0.1:0"], place))
        exporter = listening(yard.running[-1])
        master = yard.master("--metrics", "127.0.0.1:0", "--metrics-share", str(place / "shared"))
        config = adapted(place, door_of(master))
        prometheus = Running(
            [
                programs[0],
                f"--config.file={config}",
                f"--storage.tsdb.path={place}/data",
                "--web.listen-address=127.0.0.1:0",
            ],
            place,
        )
        yard.running.append(prometheus)
        found = Watched(yard, listening(prometheus), config, exporter, bool(prefix), prefix)
        prometheus.until_says("Server is ready to receive web requests")
        for name in ("w1", "w2"):
            start_worker(found, name)
        assert yard.run("master", MIXED).split()[-1] == "3"
        yield found
    finally:
        yard.close()


def start_worker(watched: Watched, name: str) -> None:
    """Start a worker with a door for metrics and the node_exporter behind it."""
    flags = ("--metrics", "127.0.0.1:0", "--node-exporter", f"127.0.0.1:{watched.exporter}")
    watched.yard.worker(name, watched.yard.token(), *flags, prefix=watched.prefix)


def are_up(watched: Watched, workers: list[str]) -> Callable[[], bool]:
    """Return whether master, these workers and their devices are scraped, and nothing else is."""
    expected = [("node", name, "up") for name in workers]
    expected += [("octapi-master", "", "up"), *[("octapi-worker", name, "up") for name in workers]]
    return lambda: watched.targets() == expected


def test_every_target_is_up_and_a_new_worker_is_found_by_itself(watched: Watched) -> None:
    """Nobody edits a file: the master tells who is there."""
    assert until(are_up(watched, ["w1", "w2"]), 60)
    start_worker(watched, "w3")
    assert until(are_up(watched, ["w1", "w2", "w3"]), 60)
    watched.yard.running.pop().stop()
    assert until(are_up(watched, ["w1", "w2"]), 60)


def queries() -> list[str]:
    """Return the queries of the dashboard, with its variables filled in."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(found) > 25
    return [text.replace("$worker", ".*").replace("$__rate_interval", "1m") for text in found]


def test_every_query_of_the_dashboard_returns_data(watched: Watched) -> None:
    """A panel that stays empty is a mistake in its query, or in what is told."""
    assert "$" not in "".join(queries())
    wanted = [one for one in queries() if watched.has_sensors or not one.startswith(SENSORS)]

    def empty() -> list[str]:
        return [one for one in wanted if not watched.ask("query", query=one)["result"]]

    until(lambda: not empty(), 60)


def test_the_dashboard_shows_what_happened(watched: Watched) -> None:
    """Prometheus knows that of five jobs three returned and one raised, and that one died."""

    def value(query: str) -> float:
        rows = watched.ask("query", query=query)["result"]
        return float(rows[0]["value"][1]) if rows else -1.0

    until(lambda: value("octapi_jobs_done_total") == 3, 60)
    assert value("octapi_jobs_failed_total") == 1
    assert value('octapi_jobs_killed_total{cause="signal"}') == 1
    until(lambda: value("sum(octapi_worker_jobs_done_total)") == 3, 60)
    until(lambda: value("sum(octapi_worker_slots)") == 2, 60)
    if watched.has_sensors:
        until(lambda: value("max(octapi_worker_temperature_celsius)") == 48.3, 60)
        assert value("max(octapi_worker_under_voltage)") == 0


def test_the_configuration_and_its_alerts_are_valid(watched: Watched) -> None:
    """Promtool finds no fault, and no alert rings in a healthy cluster."""
    done = subprocess.run(
        [tool("promtool"), "check", "config", str(watched.config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 rules found" in done.stdout
    rules = watched.ask("rules")["groups"][0]["rules"]
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


def test_all_metrics_of_rules_and_dashboard_are_ones_that_are_told(watched: Watched) -> None:
    """A metric that is renamed in the code is renamed everywhere."""
    used = set(re.findall(r"\boctapi_\w+", DASHBOARD.read_text() + (CONFIG / "rules.yml").read_text()))
    silent = set() if watched.has_sensors else set(SENSORS)
    assert until(lambda: used - set(watched.ask("label/__name__/values")) <= silent, 60)


def test_the_compose_file_and_the_configuration_speak_of_the_same_places() -> None:
    """Ports, volume and service names agree between the files that are used together."""
    compose = (DEPLOY / "monitoring.yaml").read_text()
    config = (CONFIG / "prometheus.yml").read_text()
    door = re.search(r"OCTAPI_METRICS: 0\.0\.0\.0:(\d+)\n\s+OCTAPI_METRICS_SHARE: (\S+)", compose)
    assert door is not None
    assert f"master:{door[1]}" in config
    assert f"credentials_file: {door[2]}/token" in config
    assert f"ca_file: {door[2]}/ca.pem" in config
    source = (CONFIG / "grafana/provisioning/datasources/prometheus.yml").read_text()
    assert "url: http://prometheus:9090" in source
    assert re.search(r"^  prometheus:$", compose, re.MULTILINE)
