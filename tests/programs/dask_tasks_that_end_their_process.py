"""A task of Dask that kills its process ends nothing else: jobs, workers and later tasks go on, also after restart."""

import os
import time

import octapi


def slow(n):
    time.sleep(1)
    return n


with octapi.Cluster() as cluster:
    before = sorted(worker.name for worker in cluster.workers())
    client = cluster.dask
    witnesses = [cluster.options(retries=0).submit(slow, n) for n in range(4)]
    error = client.submit(os._exit, 1, pure=False, retries=0).exception(timeout=100)
    assert "Killed" in type(error).__name__, error
    assert [job.result(60) for job in witnesses] == list(range(4))
    assert cluster.submit(abs, -1).result(60) == 1
    assert client.submit(abs, -2).result(timeout=60) == 2
    assert list(cluster.map(abs, [-1, -2])) == [1, 2]
    client.restart(timeout=60)
    assert client.submit(abs, -3).result(timeout=60) == 3
    assert cluster.submit(abs, -4).result(60) == 4
    after = sorted(worker.name for worker in cluster.workers() if worker.state == "ok")
    assert before == after, (before, after)
print("holds")
