"""Many different callables run as they are, and nothing of them is kept after use."""

import functools
import gc
import weakref

import octapi


class Adder:
    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        return x + self.n

    def add(self, x):
        return x + self.n


def add(a, b):
    return a + b


def closure(n):
    def inner(x):
        return x + n

    return inner


MAKERS = {
    "partial": lambda n: functools.partial(add, n),
    "lambda": lambda n: lambda x: x + n,
    "closure": closure,
    "callable object": Adder,
    "bound method": lambda n: Adder(n).add,
}


def run(cluster, make, count):
    gone = []
    jobs = []
    for n in range(count):
        fn = make(n)
        gone.append(weakref.ref(getattr(fn, "__self__", fn)))
        jobs.append(cluster.submit(fn, 1))
    del fn
    assert [job.result(100) for job in jobs] == [n + 1 for n in range(count)]
    mapped = [list(cluster.map(make(n), [1, 2])) for n in range(20)]
    assert mapped == [[n + 1, n + 2] for n in range(20)], mapped
    return gone


with octapi.Cluster() as cluster:
    for label, make in MAKERS.items():
        gone = run(cluster, make, 300)
        gc.collect()
        kept = sum(ref() is not None for ref in gone)
        assert kept <= 100, f"{kept} of 300 are kept: {label}"
    argument = Adder(5)
    watched = weakref.ref(argument)
    assert cluster.submit(Adder.add, argument, 1).result(60) == 6
    del argument
    gc.collect()
    assert watched() is None, gc.get_referrers(watched())
    job = cluster.submit(Adder, 7)
    watched = weakref.ref(job.result(60))
    del job
    gc.collect()
    assert watched() is None, gc.get_referrers(watched())
print("holds")
