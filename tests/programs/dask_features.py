"""cluster.dask is a client of Dask: actors, locks, queues, nested tasks, files and what else its users write."""

import pathlib

from distributed import Event, Lock, Queue, Semaphore, Variable, as_completed, worker_client

import octapi


class Counter:
    number = 0

    def add(self):
        self.number += 1
        return self.number


def nested(k):
    with worker_client() as client:
        return sum(client.gather(client.map(lambda x: x * x, range(k))))


def locked(n):
    with Lock("door"), Semaphore(name="seats", max_leases=2):
        return n


def put(n):
    Queue("line").put(n)
    return n


def wait_for_it():
    return Event("go").wait(60)


def uses_the_file():
    import sent_along

    return sent_along.value()


with octapi.Cluster() as cluster:
    client = cluster.dask
    counter = client.submit(Counter, actor=True).result(timeout=60)
    assert [counter.add().result(timeout=60) for _ in range(2)] == [1, 2]
    assert client.submit(nested, 4).result(timeout=60) == 14
    assert client.gather(client.map(nested, [3] * 4, pure=False)) == [5] * 4
    assert client.gather(client.map(locked, range(4))) == [0, 1, 2, 3]
    line = Queue("line", client=client)
    client.gather(client.map(put, range(3)))
    assert sorted(line.get(timeout=60) for _ in range(3)) == [0, 1, 2]
    Variable("v", client=client).set(5)
    assert client.submit(lambda: Variable("v").get(timeout=60), pure=False).result(timeout=60) == 5
    waiting = client.submit(wait_for_it, pure=False)
    Event("go", client=client).set()
    assert waiting.result(timeout=60)
    assert sorted(found.result() for found in as_completed(client.map(abs, range(-3, 1)))) == [0, 1, 2, 3]
    assert set(client.run(lambda: 1).values()) == {1}
    path = pathlib.Path("sent_along.py")
    path.write_text("def value(): return 42\n")
    client.upload_file(str(path))
    assert client.submit(uses_the_file, pure=False).result(timeout=60) == 42
    assert client.submit(sum, client.scatter([1, 2, 3], broadcast=True, hash=False)).result(timeout=60) == 6
    assert client.get_versions(check=True)
    assert client.scheduler_info()["workers"]
    error = client.submit(lambda: {}["key"], pure=False).exception(timeout=60)
    assert isinstance(error, KeyError), error
    assert cluster.submit(abs, -1).result(60) == 1
print("holds")
