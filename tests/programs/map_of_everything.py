"""map takes no iterables, unequal ones, endless ones and ones that fail, as the standard library does."""

import itertools
import operator

import octapi


def nothing(*given):
    return given


def failing():
    yield 1
    yield 2
    raise LookupError("in the generator")


rows = []
with octapi.Cluster() as cluster:
    assert list(cluster.map(nothing)) == []
    assert list(cluster.map(nothing, *zip(*rows, strict=True))) == []
    assert list(cluster.map(nothing, [])) == []
    assert list(cluster.map(nothing, [], itertools.count())) == []
    assert list(cluster.map(pow, [2, 3, 4], [5, 6])) == [32, 729]
    assert list(cluster.map(nothing, "ab", range(100))) == [("a", 0), ("b", 1)]
    assert list(cluster.map(str.upper, {"x": 1, "y": 2})) == ["X", "Y"]
    endless = cluster.map(operator.neg, itertools.count(), buffersize=10)
    assert list(itertools.islice(endless, 5)) == [0, -1, -2, -3, -4]
    endless.close()
    assert list(endless) == []
    for ordered in (True, False):
        closed = cluster.map(operator.neg, [1, 2, 3, 4], ordered=ordered)
        assert next(closed) in (-1, -2, -3, -4)
        closed.close()
        assert list(closed) == []
    for wrong in (-1, 0):
        try:
            cluster.map(abs, [1], chunksize=wrong)
        except ValueError as error:
            assert "chunksize" in str(error), error
        else:
            raise AssertionError(f"chunksize={wrong} was taken")
    try:
        seen = list(cluster.map(abs, failing()))
    except LookupError as error:
        assert "in the generator" in str(error), error
    else:
        raise AssertionError(seen)
    try:
        cluster.map(abs, 5)
    except TypeError as error:
        assert "iterable" in str(error), error
    else:
        raise AssertionError("a number was iterated over")
    again = cluster.map(abs, cluster.map(operator.neg, range(5)))
    assert list(again) == [0, 1, 2, 3, 4]
    assert sorted(cluster.map(abs, [-3, -2], ordered=False)) == [2, 3]
print("holds")
