"""Cached, dispatched, wrapped and otherwise decorated functions of the script run as they do in forked processes."""

import contextlib
import functools
import operator

import octapi


@functools.lru_cache(maxsize=None)
def steps(n):
    return 1 if n < 2 else steps(n - 1) + steps(n - 2)


@functools.cache
def area(width, height):
    return width * height


@functools.singledispatch
def kind(x):
    return "something"


@kind.register
def _(x: int):
    return "a number"


@kind.register(list)
def _(x):
    return "a list of " + kind(x[0])


def logged(prefix):
    def around(fn):
        @functools.wraps(fn)
        def inner(*args, **kwargs):
            return f"{prefix} {fn(*args, **kwargs)}"

        return inner

    return around


@logged("outer")
@logged("inner")
def greeted(name, *, mark="!"):
    return name + mark


@contextlib.contextmanager
def opened(x):
    yield x * 2


@functools.total_ordering
class Box:
    def __init__(self, side):
        self.side = side

    def __eq__(self, other):
        return self.side == other.side

    def __lt__(self, other):
        return self.side < other.side

    @functools.cached_property
    def volume(self):
        return self.side**3

    @functools.lru_cache
    def scaled(self, by):
        return self.side * by

    __hash__ = object.__hash__

    @functools.singledispatchmethod
    def put(self, x):
        return "anything"

    @put.register
    def _(self, x: int):
        return "a number"


def with_steps(n):
    return steps(n) + area(n, 2)


def with_kind(x):
    return kind(x)


def with_context(x):
    with opened(x) as twice:
        return twice


def with_boxes(a, b):
    return a >= b, max(a, b).volume, a.put(1)


with octapi.Cluster() as cluster:
    calls = [
        (steps, (20,), 10946), (with_steps, (10,), 109), (area, (3, 4), 12), (kind, (1,), "a number"),
        (kind, ([1],), "a list of a number"), (with_kind, ("x",), "something"), (greeted, ("Ada",), "outer inner Ada!"),
        (with_context, (4,), 8), (with_boxes, (Box(2), Box(3)), (False, 27, "a number")), (Box(3).scaled, (5,), 15),
        (Box(1).put, (2,), "a number"), (operator.attrgetter("side"), (Box(8),), 8), (operator.itemgetter(1), ("ab",), "b"),
        (str.upper, ("a",), "A"), ([3, 4].index, (4,), 1), (functools.partial(functools.partial(pow, 2), 3), (), 8),
    ]  # fmt: skip
    for fn, args, wanted in calls:
        seen = cluster.submit(fn, *args).result(60)
        assert seen == wanted, (fn, args, seen)
        if args:
            mapped = list(cluster.map(fn, *([arg, arg] for arg in args)))
            assert mapped == [wanted, wanted], (fn, args, mapped)
    assert cluster.submit(greeted, "Bo", mark="?").result(60) == "outer inner Bo?"
assert steps.cache_info().currsize == 0, steps.cache_info()
print("holds")
