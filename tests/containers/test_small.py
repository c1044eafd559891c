"""Workers with few resources are full members."""

from collections.abc import Iterator

import pytest

from tests.containers.engine import Project

SMALL = """
services:
  worker:
    mem_limit: 512m
    cpus: 0.5
"""
HOG = """
import octapi
def hog():
    held = []
    while True:
        held.append(bytearray(10_000_000))
with octapi.Cluster() as cluster:
    job = cluster.options(retries=0).submit(hog)
    error = job.exception()
    print(type(error).__name__, error)
    print("lives", cluster.submit(pow, 2, 10).result())
"""


@pytest.fixture(scope="module")
def small(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Start a master and one worker with 512 MB, half a core and four slots."""
    path = tmp_path_factory.mktemp("small") / "small.yaml"
    path.write_text(SMALL)
    project = Project("compose.yaml", path, OCTAPI_SLOTS="4")
    try:
        yield project.up(workers=1)
    finally:
        project.down()


def test_half_a_core_and_512_mb_run_four_slots(small: Project) -> None:
    """The classic script; the worker tells its limits, not the device's."""
    said = small.exec("master", "python3", "./compute_pi_efficient.py", "2000", "100")

    assert "pi is about 3.1" in said
    (node,) = small.nodes()
    assert node["slots"] == 4
    assert node["memory"] == 512 << 20


def test_a_job_that_takes_all_memory_dies_alone(small: Project) -> None:
    """It is reported as out of memory with what it had taken, and the worker was never away."""
    before = small.exec("worker", "cat", "/proc/1/stat").split()[21]

    said = small.python(HOG)

    assert "out of memory" in said
    assert "lives 1024" in said
    assert small.exec("worker", "cat", "/proc/1/stat").split()[21] == before
