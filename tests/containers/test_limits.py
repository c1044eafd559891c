"""What a job may take of its container is bounded, so that its device and everybody else's jobs go on."""

from collections.abc import Iterator

import pytest

from tests.containers.engine import Project

#: the greedy job runs beside the jobs of another cluster object; the last ones run where the greedy one was too
SCRIPT = """
import octapi
def patient(n):
    import time
    time.sleep(0.2)
    return n
{greedy}
with octapi.Cluster() as cluster, octapi.Cluster() as other:
    running = [other.submit(patient, n) for n in range(40)]
    first = cluster.options(retries=0, timeout_s=40).submit(greedy)
    error = first.exception(90)
    print("GREEDY", type(error).__name__ if error else first.result())
    print("OTHERS", sum(job.result(90) for job in running))
    print("LATER", sum(cluster.map(patient, range(10))))
"""
FORKS = """
def greedy():
    import os, time
    while True:
        try:
            if os.fork() == 0:
                time.sleep(600)
        except OSError as error:
            return f"stopped at {error.errno}"
"""
BOMB = """
def greedy():
    import os
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""
FILLS = """
def greedy():
    with open({where!r}, "wb") as file:
        try:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        except OSError as error:
            return f"stopped at {{error.errno}}"
"""
LIMITS = {"OCTAPI_PIDS": "400", "OCTAPI_SHM_SIZE": "32m", "OCTAPI_TMP_SIZE": "128m", "OCTAPI_SLOTS": "2"}


@pytest.fixture(scope="module")
def bounded(image: str) -> Iterator[Project]:
    """Start a master and two workers whose limits are soon met."""
    project = Project("compose.yaml", **LIMITS)
    try:
        yield project.up(workers=2)
    finally:
        project.down()


@pytest.mark.parametrize(
    ("greedy", "fate"),
    [
        pytest.param(FORKS, "stopped at 11", id="processes until there are no more"),
        pytest.param(BOMB, "JobTimeout", id="a fork bomb"),
        pytest.param(FILLS.format(where="full"), "stopped at 28", id="a full disk of the job's directory"),
        pytest.param(FILLS.format(where="/dev/shm/full"), "stopped at 28", id="a full /dev/shm"),
    ],
)
def test_a_job_that_takes_all_of_something_hurts_only_itself(bounded: Project, greedy: str, fate: str) -> None:
    """The other script's jobs, the worker and the jobs that come later do not notice."""
    before = {node["name"]: node["slots"] for node in bounded.nodes()}

    said = bounded.python(SCRIPT.format(greedy=greedy))

    assert f"GREEDY {fate}" in said
    assert f"OTHERS {sum(range(40))}" in said
    assert f"LATER {sum(range(10))}" in said
    assert {node["name"]: node["slots"] for node in bounded.nodes()} == before
