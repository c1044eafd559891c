"""A callable that is gone is never taken for the next one that has its place in memory."""

import dataclasses

import octapi


@dataclasses.dataclass
class Times:
    factor: int

    def __call__(self, x):
        return x * self.factor

    def method(self, x):
        return x * self.factor


def times(factor):
    def inner(x):
        return x * factor

    return inner


def compiled(factor):
    space = {}
    exec(f"def made(x): return x * {factor}", space)
    return space["made"]


with octapi.Cluster() as cluster:
    for make in (Times, times, compiled, lambda f: Times(f).method, lambda f: lambda x: x * f):
        one_by_one = [cluster.submit(make(n), 7).result(60) for n in range(8)]
        assert one_by_one == [7 * n for n in range(8)], (make, one_by_one)
        mapped = [list(cluster.map(make(n), [1, 2])) for n in range(8)]
        assert mapped == [[n, 2 * n] for n in range(8)], (make, mapped)
    at_once = [cluster.submit(Times(n), 7) for n in range(50)]
    assert [job.result(60) for job in at_once] == [7 * n for n in range(50)]
print("holds")
