"""Once cluster.dask is asked for, what finds Dask's client by itself runs on the cluster."""

import os

import dask
from distributed import Lock, Queue, Variable, as_completed, get_client, wait

import octapi


class Counter:
    number = 0

    def add(self):
        self.number += 1
        return self.number


def where():
    return os.getpid()


with octapi.Cluster() as cluster, cluster.dask as client:
    assert get_client() is client
    assert dask.delayed(where)().compute() != os.getpid()
    assert dask.compute(dask.delayed(where)())[0] != os.getpid()
    assert [found.result() for found in as_completed(client.map(abs, [-1]))] == [1]
    assert wait(client.map(abs, [-2]), timeout=60).done
    Queue("line").put(1)
    assert Queue("line").get(timeout=60) == 1
    lock = Lock("door")
    assert lock.acquire(timeout=60)
    lock.release()
    Variable("v").set(3)
    assert Variable("v").get(timeout=60) == 3
    counter = client.submit(Counter, actor=True).result(timeout=60)
    assert counter.add().result(timeout=60) == 1
    with client.as_current():
        assert dask.delayed(where)().compute() != os.getpid()
    assert cluster.submit(where).result(60) != os.getpid()
assert dask.delayed(where)().compute(scheduler="sync") == os.getpid()
print("holds")
