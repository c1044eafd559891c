"""A function sees the globals, helpers and closures of the moment of the call, as in the cells of a notebook."""

import octapi

rate = 1
table = {"a": 1}
choices = {}


def helper(x):
    return x + rate


def work(x):
    return helper(x) * 10


def looked_up(x):
    return table["a"] + x


def plus_one(x):
    return x + 1


choices["f"] = work


def chosen(x):
    return choices["f"](x)


def decorate(fn):
    def inner(*args):
        return fn(*args)

    inner.__wrapped__ = fn
    return inner


@decorate
def decorated(x):
    return helper(x)


def counter():
    count = 0

    def bump():
        nonlocal count
        count += 1

    def read(_):
        return count

    return bump, read


def all_of_them(cluster):
    names = [work, looked_up, chosen, decorated]
    submitted = [cluster.submit(fn, 1).result(60) for fn in names]
    mapped = [list(cluster.map(fn, [1]))[0] for fn in names]
    assert submitted == mapped, (submitted, mapped)
    return submitted


with octapi.Cluster() as cluster:
    seen = all_of_them(cluster)
    assert seen == [20, 2, 20, 2], seen
    rate = 5
    seen = all_of_them(cluster)
    assert seen == [60, 2, 60, 6], seen
    table["a"] = 100
    seen = all_of_them(cluster)
    assert seen == [60, 101, 60, 6], seen

    def helper(x):
        return x * 1000

    choices["f"] = plus_one
    seen = all_of_them(cluster)
    assert seen == [10_000, 101, 2, 1000], seen

    def work(x):
        return "another"

    assert cluster.submit(work, 1).result(60) == "another"
    bump, read = counter()
    counts = []
    for _ in range(4):
        counts.append(cluster.submit(read, None).result(60))
        bump()
    assert counts == [0, 1, 2, 3], counts
    work.__defaults__ = ()
    plus_one.__code__ = helper.__code__
    assert cluster.submit(plus_one, 1).result(60) == 1000
print("holds")
