"""cluster.dask: arrays, dataframes, delayed and joblib on the same workers."""

from collections.abc import Iterator

import pytest

import octapi
from octapi.embedded import EmbeddedCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[octapi.Cluster]:
    with EmbeddedCluster(workers=2, slots=1) as embedded, octapi.Cluster(embedded.address) as found:
        yield found


def test_arrays(cluster: octapi.Cluster) -> None:
    """A sum over chunks that lie on two workers."""
    import dask.array as da

    total = da.ones((1_000, 1_000), chunks=(250, 250)).sum()

    assert cluster.dask.compute(total).result(timeout=60) == 1_000_000


def test_dataframes(cluster: octapi.Cluster) -> None:
    """A group-by."""
    import dask.dataframe as dd
    import pandas as pd

    frame = dd.from_pandas(pd.DataFrame({"key": [1, 2, 1, 2], "value": [1, 2, 3, 4]}), npartitions=2)
    sums = cluster.dask.compute(frame.groupby("key").value.sum()).result(timeout=60)

    assert sums.to_dict() == {1: 4, 2: 6}


def test_delayed(cluster: octapi.Cluster) -> None:
    """A small graph."""
    import dask

    parts = [dask.delayed(pow)(n, 2) for n in range(5)]

    assert cluster.dask.compute(dask.delayed(sum)(parts)).result(timeout=60) == 30


def test_joblib_with_its_dask_backend(cluster: octapi.Cluster) -> None:
    """scikit-learn's way to run in parallel."""
    import joblib

    with joblib.parallel_config("dask", client=cluster.dask):
        assert joblib.Parallel()(joblib.delayed(abs)(-n) for n in range(10)) == list(range(10))


def test_dask_on_this_computer_starts_when_it_is_asked_for() -> None:
    """Without a cluster it has as many processes as slots, and ends with the cluster."""
    with octapi.Cluster("local", slots=1) as cluster:
        assert cluster.dask.submit(sum, [1, 2]).result(timeout=60) == 3
        assert len(cluster.dask.scheduler_info()["workers"]) == 1


def test_a_worker_without_dask_runs_jobs_and_no_dask_tasks() -> None:
    """--no-dask: nothing of Dask's comes into the process that holds the worker's key."""
    with EmbeddedCluster(workers=1) as embedded:
        embedded.add_worker("jobs-only", takes_tasks=False)
        with octapi.Cluster(embedded.address, progress=False) as cluster:
            job = cluster.options(worker="jobs-only").submit(abs, -1)
            assert (job.result(), job.worker) == (1, "jobs-only")
            client = cluster.dask
            places = {row["name"]: address for address, row in client.scheduler_info()["workers"].items()}
            futures = [client.submit(abs, -number, pure=False) for number in range(20)]
            assert sum(client.gather(futures)) == sum(range(20))
            who = {address for holders in client.who_has(futures).values() for address in holders}
            assert who == {places["worker-1"]}
            with pytest.raises(octapi.errors.RoleRefused, match="--no-dask"):
                client.run(abs, -1, workers=[places["jobs-only"]])
