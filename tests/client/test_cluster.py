"""A real master and real workers on loopback."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import octapi
from octapi.protocol import wire
from octapi.testing import EmbeddedCluster
from tests.harness import until


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(workers=2, slots=1) as found:
        yield found


def test_jobs_run_on_all_workers(embedded: EmbeddedCluster) -> None:
    """Both workers take part, and every result comes back."""
    with octapi.Cluster(embedded.address) as cluster:
        jobs = [cluster.submit(lambda n: time.sleep(0.05) or n, number) for number in range(20)]

        assert [job.result(timeout=60) for job in jobs] == list(range(20))
        assert {job.worker for job in jobs} == {"worker-1", "worker-2"}


def test_map_works_through_a_master(embedded: EmbeddedCluster) -> None:
    """Many quick items travel in batches."""
    with octapi.Cluster(embedded.address) as cluster:
        assert list(cluster.map(lambda n: n + 1, range(10_000))) == list(range(1, 10_001))


def test_dask_runs_on_the_same_workers(embedded: EmbeddedCluster) -> None:
    """cluster.dask is a real Dask client of the same scheduler."""
    with octapi.Cluster(embedded.address) as cluster:
        assert cluster.dask.submit(sum, [1, 2, 3]).result(timeout=60) == 6
        assert len(cluster.dask.scheduler_info()["workers"]) == 2


def test_jobs_wait_aloud_for_the_first_worker(capfd: pytest.CaptureFixture[str]) -> None:
    """After two seconds stderr says what is missing, and the job runs once a worker joins."""
    with EmbeddedCluster(workers=0) as embedded, octapi.Cluster(embedded.address) as cluster:
        job = cluster.submit(abs, -5)
        until(lambda: "no worker has joined" in capfd.readouterr().err)
        embedded.add_worker("late")

        assert job.result(timeout=60) == 5


def test_a_crash_on_a_worker_names_the_worker(embedded: EmbeddedCluster) -> None:
    """The error says which device it was."""
    import os

    with octapi.Cluster(embedded.address) as cluster:
        error = cluster.submit(lambda: os._exit(7)).exception(timeout=60)

    assert isinstance(error, octapi.JobCrashed)
    assert error.worker in {"worker-1", "worker-2"}


def test_a_short_script_is_not_stuck_behind_a_long_one(embedded: EmbeddedCluster) -> None:
    """Three jobs of a second client finish while the first still has thousands waiting."""
    with octapi.Cluster(embedded.address) as long, octapi.Cluster(embedded.address) as short:
        many = [long.submit(time.sleep, 0.02) for _ in range(2_000)]
        many[5].result(timeout=60)
        assert [short.submit(abs, -n).result(timeout=60) for n in range(3)] == [0, 1, 2]
        assert not many[-1].done()
        long.shutdown(wait=False, cancel_futures=True)


def test_jobs_of_a_killed_worker_run_elsewhere() -> None:
    """Its jobs are started again on the worker that is left, and none is lost."""
    with EmbeddedCluster(workers=1) as embedded, octapi.Cluster(embedded.address) as cluster:
        doomed = embedded.add_worker("doomed")
        jobs = [cluster.submit(lambda n: time.sleep(0.3) or n, number) for number in range(12)]
        until(lambda: "doomed" in [job.worker for job in jobs])
        doomed.kill()

        assert [job.result(timeout=60) for job in jobs] == list(range(12))


def test_another_protocol_is_refused_on_both_sides(embedded: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's error says which release to install."""
    monkeypatch.setattr(wire, "PROTOCOL", 99)
    monkeypatch.setattr(wire, "OLDEST_PROTOCOL", 99)
    with pytest.raises(octapi.ClusterError, match="Install the same release"):
        octapi.Cluster(embedded.address)


def test_nobody_at_the_address_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait ends, and names the address."""
    monkeypatch.setenv("OCTAPI_PATIENCE_S", "0.2")
    with pytest.raises(octapi.MasterNotFound, match="octapi master"):
        octapi.Cluster("127.0.0.1:9")


def test_nodes_lists_the_workers_as_json(embedded: EmbeddedCluster) -> None:
    """A script can read who is in."""
    done = subprocess.run(
        [sys.executable, "-m", "octapi.cli.app", "nodes", "--address", embedded.address, "--json"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert {row["name"] for row in json.loads(done.stdout)} == {"worker-1", "worker-2"}


def test_jobs_behind_another_script_say_so(embedded: EmbeddedCluster, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever waits for slots that another script has is told, and how to see who that is."""
    with octapi.Cluster(embedded.address) as long, octapi.Cluster(embedded.address) as short:
        many = [long.submit(time.sleep, 100) for _ in range(2)]
        until(lambda: [job.running() for job in many] == [True, True])
        job = short.submit(abs, -5)
        until(lambda: "other scripts have all 2 slots" in capfd.readouterr().err)
        for other in many:
            other.cancel()

        assert job.result(timeout=60) == 5


def test_a_cluster_on_this_computer_goes_on_however_much_its_processes_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A master tells who is there again and again; nobody needs that here, and still it does not wait for a reader."""
    talks = "import json, pathlib, sys\nsys.stdin.readline()\nprint(json.dumps({'kind': 'ready'}), flush=True)\n"
    talks += "print('news\\n' * 100_000, flush=True)\n"
    talks += "pathlib.Path(__file__).with_name('done').touch()\nsys.stdin.read()\n"
    (tmp_path / "talks.py").write_text(talks)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with EmbeddedCluster(workers=0) as embedded:
        embedded._launch("talks", {})
        until((tmp_path / "done").exists)
