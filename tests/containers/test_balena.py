"""The balena fleets: their files as the supervisor takes them, and their services with a stand-in for it."""

import ipaddress
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from octapi import _version
from tests.containers import balena_schema
from tests.containers.engine import IMAGE, ROOT, Project, docker, inspect
from tests.harness import until

EXPORTER = "octapi-test-node-exporter"
FLEETS = ("balena", "balena-master", "balena-worker")
#: answers as the supervisor does, and writes down what it was asked
SUPERVISOR = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print("asked", self.path, body, flush=True)
        answer = json.dumps({"Data": "OK", "Error": ""}).encode()
        self.send_response(202)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_):
        pass
http.server.HTTPServer(("", 48484), Handler).serve_forever()
"""
AGENT_SEEN_BY_A_JOB = """
import octapi
def ask():
    import socket
    try:
        socket.socket(socket.AF_UNIX).connect("/run/octapi-agent/agent.sock")
    except OSError as error:
        return type(error).__name__
with octapi.Cluster() as cluster:
    print(cluster.submit(ask).result())
"""
#: asks the node_exporter as the worker does
EXPORTED = """
import asyncio
from octapi.telemetry import exporter
print(asyncio.run(exporter.node(("127.0.0.1", 9100))).body.decode())
"""


def load(fleet: str, name: str) -> Any:
    """Read a file of a fleet's directory."""
    return yaml.safe_load((ROOT / "deploy" / fleet / name).read_text())


@pytest.mark.parametrize("fleet", FLEETS)
def test_the_supervisor_accepts_the_files_of_a_fleet(fleet: str) -> None:
    """Version line, named volumes, no substitution; the dangerous label is the agent's alone; no variable's value."""
    text = (ROOT / "deploy" / fleet / "docker-compose.yml").read_text()
    found = load(fleet, "docker-compose.yml")
    jsonschema.validate(found, balena_schema.COMPOSE)
    jsonschema.validate(load(fleet, "balena.yml"), balena_schema.DESCRIPTION)

    assert load(fleet, "balena.yml")["version"] == _version.__version__
    assert "${" not in text
    volumes = {row.split(":")[0] for service in found["services"].values() for row in service.get("volumes", ())}
    assert volumes == set(found["volumes"])
    assert [name for name, service in found["services"].items() if "labels" in service] == ["agent"]
    assert [name for name, service in found["services"].items() if "ports" in service] == ["octapi"]


def test_a_compose_file_that_the_supervisor_refuses_is_noticed() -> None:
    """The schema is not so wide that everything passes."""
    for line in ("container_name: x", "env_file: x", "privileged: true", "volumes: ['./here:/there']", "cpus: 1"):
        wrong = yaml.safe_load(f"version: '2.4'\nservices:\n  one:\n    build: .\n    {line}\n")
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, balena_schema.COMPOSE)


def test_a_fleets_directory_is_a_whole_context(image: str) -> None:
    """Links lead to the sources, as the balena command follows them; the image is the same as everybody's."""
    for fleet in FLEETS:
        tar = ["tar", "-C", str(ROOT / "deploy" / fleet), "-ch", "."]
        packed = subprocess.run(tar, capture_output=True, check=True).stdout
        env = dict(os.environ, DOCKER_BUILDKIT="1")
        built = subprocess.run(
            ["docker", "build", "-q", "-"], input=packed, capture_output=True, check=True, timeout=600, env=env
        )
        assert inspect(built.stdout.decode().strip(), "{{.RootFS.Layers}}") == inspect(IMAGE, "{{.RootFS.Layers}}")


class Fleet:
    """Two devices of balena on the default bridge of this engine, each with its supervisor."""

    def __init__(self, place: Path) -> None:
        self.place = place
        #: the engine's host, as seen by all that is on the default bridge
        self.gateway = str(next(ipaddress.ip_network(inspect("bridge", "{{(index .IPAM.Config 0).Subnet}}")).hosts()))
        self.devices: list[Project] = []
        self.supervisors: list[str] = []

    def supervisor(self) -> tuple[str, str]:
        """Start a stand-in; return its container and address."""
        name = f"octapi-test-{uuid.uuid4().hex[:8]}"
        docker("run", "-d", "--name", name, "--network", "bridge", IMAGE, "python3", "-uc", SUPERVISOR)
        self.supervisors.append(name)
        return name, inspect(name, "{{.NetworkSettings.IPAddress}}")

    def device(self, fleet: str, ports: list[str], **variables: str) -> tuple[Project, str]:
        """Start a device's services, with variables that reach them all, and its supervisor."""
        supervisor, address = self.supervisor()
        access = {"BALENA_SUPERVISOR_ADDRESS": f"http://{address}:48484", "BALENA_SUPERVISOR_API_KEY": "key"}
        services: dict[str, Any] = {
            "octapi": {"image": IMAGE, "build": None, "environment": {"BALENA": "1"} | variables},
            "agent": {"image": IMAGE, "build": None, "environment": variables | access},
        }
        text = yaml.safe_dump({"services": services})
        text = text.replace("build: null", "build: !reset null")
        text = text.replace("  octapi:\n", f"  octapi:\n    ports: !override {json.dumps(ports)}\n")
        if "node-exporter" in load(fleet, "docker-compose.yml")["services"]:
            text += f"  node-exporter: {{image: {EXPORTER}, build: !reset null}}\n"
        override = self.place / f"{fleet}-{len(self.devices)}.yaml"
        override.write_text(text)
        project = Project(f"{fleet}/docker-compose.yml", override)
        self.devices.append(project)
        project.compose("up", "-d", "--no-build")
        return project, supervisor

    def close(self) -> None:
        """End everything."""
        for project in reversed(self.devices):
            project.down()
        for name in self.supervisors:
            docker("rm", "-fv", name)


@pytest.fixture
def fleet(image: str, tmp_path: Path) -> Iterator[Fleet]:
    """Give a test devices of its own."""
    docker("build", "-q", "-t", EXPORTER, str(ROOT / "deploy/node-exporter"))
    found = Fleet(tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize("names", [("balena", "balena"), ("balena-master", "balena-worker")], ids=["one", "two"])
def test_devices_of_a_fleet_work_together_and_reboot_through_the_agent(fleet: Fleet, names: tuple[str, str]) -> None:
    """One fleet by variables, or two; the master's scripts run in a shell there; only SSH's root reaches the agent."""
    role = {"OCTAPI_ROLE": "master"} if names[0] == "balena" else {}
    ports = ["8722:8722", "8785:8785", "8786:8786", "8788:8788"]
    master, _ = fleet.device(names[0], ports, OCTAPI_ADVERTISE=fleet.gateway, **role)
    until(lambda: "joins at" in master.compose("logs", "octapi"), 60)
    token = master.exec("octapi", "octapi", "token", "create", "--life", "3650d", "--show").split()[-1]
    variables = {"OCTAPI_TOKEN": token, "OCTAPI_PORT": "8799", "OCTAPI_SSH_PORT": "8732", "OCTAPI_SLOTS": "2"}
    role = {"OCTAPI_ROLE": "worker"} if names[0] == "balena" else {}
    device = {"BALENA_DEVICE_NAME_AT_INIT": "aged-dew", "OCTAPI_ADVERTISE": fleet.gateway}
    worker, supervisor = fleet.device(names[1], ["8799:8799", "8732:8732"], **variables, **role, **device)
    until(lambda: "aged-dew" in master.exec("octapi", "octapi", "nodes", code=None), 60)

    assert "executed job 19" in master.exec("octapi", "python3", "./compute.py")
    assert master.exec("octapi", "pwd").strip() == "/usr/src/app"
    assert "PermissionError" in master.exec("octapi", "python3", "-c", AGENT_SEEN_BY_A_JOB)
    assert "asked" not in docker("logs", supervisor)

    said = master.exec("octapi", "octapi", "nodes", "reboot")
    assert "aged-dew" in said
    assert "ok: the supervisor says OK" in said
    master.exec("octapi", "octapi", "nodes", "shutdown", "--on", "aged-dew")
    calls = docker("logs", supervisor).splitlines()
    assert calls == ["asked /v1/reboot?apikey=key {}", "asked /v1/shutdown?apikey=key {}"]
    assert worker.exec("agent", "octapi", "device", "explode", code=1)

    until(lambda: "node_load1 " in worker.exec("octapi", "python3", "-c", EXPORTED, code=None), 60)
    worker.compose("restart", "octapi")
    until(lambda: "node_load1 " in worker.exec("octapi", "python3", "-c", EXPORTED, code=None), 60)
