"""Tests with real containers; they need Docker, and in CI they must have it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import IMAGE, ROOT, Project, docker, has_engine

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, and give them the time that containers take."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.containers)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def engine() -> None:
    """Need a container engine, compose and the base image."""
    if not has_engine():
        assert not os.environ.get("CI"), "CI must have a container engine"
        pytest.skip("there is no container engine here: install docker.io")
    for script in ("base-image", "compose-plugins"):
        done = subprocess.run([ROOT / "scripts" / script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """Build the image as compose does for a person."""
    project = Project("compose.yaml")
    project.compose("build", "master", seconds=600)
    return IMAGE


@pytest.fixture(scope="module")
def cluster(image: str) -> Iterator[Project]:
    """Start a master and three workers on a network of their own."""
    project = Project("compose.yaml", OCTAPI_SLOTS="2")
    try:
        yield project.up(workers=3)
    finally:
        project.down()
        assert not docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={project.name}").strip()
