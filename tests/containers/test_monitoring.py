"""The compose file for monitoring: Prometheus and node_exporter beside a cluster, without a step by hand."""

import json
from pathlib import Path

from tests.containers.engine import Project
from tests.harness import until

#: names of the tests' own, and no port of this computer
OVERRIDE = """
services:
  node-exporter: {image: octapi-test-node-exporter}
  prometheus: {image: octapi-test-prometheus, ports: !override []}
"""
ASK = """
import urllib.request
print(urllib.request.urlopen("http://prometheus:9090/api/v1/targets?state=active", timeout=10).read().decode())
"""


def test_everything_that_is_started_is_watched(image: str, tmp_path: Path) -> None:
    """Master, worker and its device are up in Prometheus; the token is made and shared on the way."""
    override = tmp_path / "override.yaml"
    override.write_text(OVERRIDE)
    project = Project("compose.yaml", "monitoring.yaml", override)

    def jobs() -> list[str]:
        text = project.exec("master", "python3", "-c", ASK, code=None)
        found = json.loads(text)["data"]["activeTargets"] if text.startswith("{") else []
        return sorted(row["labels"]["job"] for row in found if row["health"] == "up")

    try:
        project.compose("build", "node-exporter", "prometheus", seconds=300)
        project.compose("up", "-d", "--no-build", "master", "worker", "node-exporter", "prometheus")
        until(lambda: jobs() == ["node", "octapi-master", "octapi-worker"], 120)
        assert "No such file" in project.exec("worker", "cat", "/monitoring/token", code=1)
    finally:
        project.down()
