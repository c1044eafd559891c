"""A job that makes a cluster of its own, or uses the script's, works or says clearly why not; it never hangs."""

import octapi


def square(n):
    return n * n


def its_own(n):
    with octapi.Cluster() as inner:
        return sum(inner.map(square, range(n)))


def its_own_here(n):
    with octapi.Cluster("local", slots=1) as inner:
        return sum(inner.map(square, range(n)))


with octapi.Cluster() as cluster:

    def the_scripts(n):
        return sum(cluster.map(square, range(n)))

    for fn in (its_own, its_own_here):
        jobs = [cluster.options(timeout_s=80).submit(fn, 5) for _ in range(6)]
        assert [job.result(100) for job in jobs] == [30] * 6, fn
    for call in (lambda: cluster.submit(the_scripts, 5).result(60), lambda: list(cluster.map(the_scripts, [5]))):
        try:
            found = call()
        except octapi.OctapiError as error:
            assert "luster" in str(error), error
            assert not isinstance(error, TimeoutError), error
        else:
            assert found in (30, [30]), found
    assert cluster.submit(square, 3).result(60) == 9
print("holds")
