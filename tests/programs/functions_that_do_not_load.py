"""A function that no worker can load, or that ends each process, fails at each submit and map; corrected, it runs."""

import os

import octapi


class Sly:
    def __reduce__(self):
        return eval, ("__import__('a_module_that_is_nowhere')",)


class Angry:
    def __reduce__(self):
        return exec, ("raise SystemExit(3)",)


class Deadly:
    def __reduce__(self):
        return os._exit, (3,)


def raises(call):
    try:
        found = call()
    except TimeoutError as error:
        raise AssertionError("it waits") from error
    except Exception as error:
        return error
    raise AssertionError(f"it gave {found}")


value = Sly()


def work(x):
    return value if x < 0 else x


with octapi.Cluster() as cluster:
    for bad in (Sly(), Angry()):
        value = bad
        for _ in range(2):
            raises(lambda: cluster.submit(work, 1).result(60))
            raises(lambda: list(cluster.map(work, [1, 2], timeout=60)))
        for job in [cluster.submit(work, n) for n in range(5)]:
            raises(lambda job=job: job.result(60))
        name = cluster.workers()[0].name
        raises(lambda: cluster.options(worker=name, retries=0).submit(work, 1).result(60))
        error = raises(lambda: cluster.submit(abs, bad).result(60))
        assert isinstance(error, octapi.OctapiError | ImportError | SystemExit), error
        assert cluster.submit(abs, -4).result(60) == 4
    value = Deadly()
    for _ in range(2):
        error = raises(lambda: cluster.submit(work, 1).result(60))
        assert isinstance(error, octapi.OctapiError), error
        assert "while they loaded it" in str(error), error
        raises(lambda: list(cluster.map(work, [1, 2], timeout=60)))
    error = raises(lambda: cluster.submit(lambda: Sly()).result(60))
    value = 5
    assert cluster.submit(work, -1).result(60) == 5
    assert list(cluster.map(work, range(-2, 2))) == [5, 5, 0, 1]
print("holds")
