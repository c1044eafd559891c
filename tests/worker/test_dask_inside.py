"""Tasks of Dask that use Dask themselves, on a cluster with certificates."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Yard

SCRIPT = """
import time
import distributed, octapi

def double(number):
    with distributed.Lock("door"):
        distributed.Queue("belt").put(number)
    with distributed.worker_client() as client:
        return client.submit(lambda n: 2 * n, number, pure=False).result()

with octapi.Cluster() as cluster:
    client = cluster.dask
    belt = distributed.Queue("belt")
    futures = client.map(double, range(4), pure=False)
    print("SUM", sum(client.gather(futures)) + len([belt.get(timeout=30) for _ in range(4)]), flush=True)
    del futures
    time.sleep(6)  # a client inside a task says every five seconds that it lives
    print("AGAIN", sum(client.gather(client.map(double, range(4), pure=False))), flush=True)
"""


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    tmp_path.chmod(0o700)
    found = Yard(tmp_path)
    yield found
    found.close()


def test_tasks_that_use_dask_themselves_are_refused_nothing(yard: Yard) -> None:
    """Queues, locks and tasks in tasks work twice with a pause in which there are none; nobody is logged as refused."""
    master = yard.master()
    token = yard.token()
    workers = [yard.worker(name, token) for name in ("red", "blue")]
    script = yard.script("master", SCRIPT)
    assert script.wait(120) == 0, script.text()

    assert "SUM 16" in script.text()
    assert "AGAIN 12" in script.text()
    for running in (master, *workers):
        assert "refused" not in running.text(), running.text()
        assert "Traceback" not in running.text(), running.text()
