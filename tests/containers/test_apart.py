"""Clusters and hosts that are apart: two clusters on one engine, and hosts that reach each other by published ports."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.containers.engine import Project, docker, inspect
from tests.yard import until


def test_two_clusters_on_one_engine_do_not_mix(image: str) -> None:
    """Even a worker of one that finds the other's master under the name of its own does not work for it."""
    one, two = (Project("compose.yaml", OCTAPI_CLUSTER=name, OCTAPI_SLOTS="1") for name in ("one", "two"))
    lost = f"{one.name}-worker-1"
    try:
        one.up(workers=1)
        two.up(workers=1)
        docker("network", "disconnect", f"{one.name}_default", lost)
        docker("network", "connect", f"{two.name}_default", lost)

        until(lambda: "another authority" in docker("logs", lost), 90)
        assert [row["name"] for row in two.nodes()] == [inspect(f"{two.name}-worker-1", "{{.Config.Hostname}}")]
        until(lambda: not one.nodes(), 60)

        docker("network", "disconnect", f"{two.name}_default", lost)
        docker("network", "connect", f"{one.name}_default", lost)
        until(lambda: [row["name"] for row in one.nodes()] == [inspect(lost, "{{.Config.Hostname}}")], 90)
    finally:
        docker("network", "disconnect", "-f", f"{two.name}_default", lost, code=None)
        one.down()
        two.down()


@pytest.fixture
def bridges() -> Iterator[tuple[str, str]]:
    """Make two bridges; what is on one reaches the other through published ports of the engine's host only."""
    names = tuple(f"octapi-test-{uuid.uuid4().hex[:8]}" for _ in range(2))
    for name in names:
        docker("network", "create", name)
    yield names
    for name in names:
        for container in inspect(name, "{{range .Containers}}{{.Name}} {{end}}").split():
            docker("rm", "-fv", container)
        docker("network", "rm", name)


def start(image: str, name: str, network: str, ports: tuple[int, ...], env: dict[str, str]) -> None:
    """Start a container on a bridge that publishes ports."""
    published = [argument for port in ports for argument in ("-p", f"{port}:{port}")]
    settings = [argument for key, value in env.items() for argument in ("-e", f"{key}={value}")]
    docker("run", "-d", "--name", name, "--network", network, "--tmpfs", "/run", *published, *settings, image)


def test_hosts_work_together_through_published_ports_only(image: str, bridges: tuple[str, str]) -> None:
    """No address of a bridge gets into a token or to a peer; results come back, SSH gets through, data moves too."""
    here, there = bridges
    outside = inspect(here, "{{(index .IPAM.Config 0).Gateway}}")  # both reach the engine's host under this address
    start(image, f"{here}-master", here, (8785, 8786, 8788), {"OCTAPI_ROLE": "master", "OCTAPI_ADVERTISE": outside})
    until(lambda: "joins at" in docker("logs", f"{here}-master"), 60)
    token = docker("exec", f"{here}-master", "octapi", "token", "create", "--show").split()[-1]
    for number, network in ((1, there), (2, here)):
        env = {
            "OCTAPI_TOKEN": token, "OCTAPI_ADVERTISE": outside, "OCTAPI_SLOTS": "1", "OCTAPI_NAME": f"far-{number}",
            "OCTAPI_PORT": str(8788 + number), "OCTAPI_SSH_PORT": str(8720 + number),
        }  # fmt: skip
        start(image, f"{network}-worker-{number}", network, (8788 + number, 8720 + number), env)

    def nodes() -> list[dict[str, Any]]:
        return json.loads(docker("exec", f"{here}-master", "octapi", "nodes", "--json"))

    until(lambda: [row["online"] for row in nodes()] == [True, True], 60)
    direct = subprocess.run(
        ["docker", "exec", f"{there}-worker-1", "python3", "-c",
         "import socket, sys; socket.create_connection((sys.argv[1], 8786), 2)",
         inspect(f"{here}-master", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert direct.returncode != 0, "the bridges are not apart, so nothing would be proved"
    assert {row["address"] for row in nodes()} == {outside}
    said = docker("exec", f"{here}-master", "python3", "./compute.py")
    assert "far-1" in said
    assert "far-2" in said
    for number, network in ((1, there), (2, here)):
        name = inspect(f"{network}-worker-{number}", "{{.Config.Hostname}}")
        assert docker("exec", f"{here}-master", "ssh", f"far-{number}", "hostname").strip() == name
    code = (
        "import octapi\nwith octapi.Cluster() as c:\n"
        "    a = c.dask.submit(lambda: bytes(100_000), workers='far-1', pure=False)\n"
        "    print('moved', c.dask.submit(len, a, workers='far-2').result())\n"
    )
    assert "moved 100000" in docker("exec", f"{here}-master", "python3", "-c", code)
