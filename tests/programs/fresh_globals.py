"""What a job changes in globals, defaults, attributes or closures is not seen by the next, in batches and maps."""

import collections

import octapi

SEEN = []
TABLE = {}
QUEUE = collections.deque()
TOTAL = 0


class Count:
    number = 0
    found = []


def in_lists(x):
    SEEN.append(x)
    TABLE[x] = 1
    QUEUE.append(x)
    return len(SEEN), len(TABLE), len(QUEUE)


def in_numbers(x):
    global TOTAL
    TOTAL += 1
    return TOTAL


def in_defaults(x, found=[], *, named={}):
    found.append(x)
    named[x] = 1
    return len(found), len(named)


def in_classes(x):
    Count.number += 1
    Count.found.append(x)
    return Count.number, len(Count.found)


def make_closure():
    kept, number = [], 0

    def in_closures(x):
        nonlocal number
        number += 1
        kept.append(x)
        return number, len(kept)

    return in_closures


def in_itself(x):
    in_itself.calls = getattr(in_itself, "calls", 0) + 1
    return in_itself.calls


def in_modules(x):
    import json

    json.calls = getattr(json, "calls", 0) + 1
    return json.calls


class Machine:
    def __init__(self):
        self.parts = []

    def in_objects(self, x):
        self.parts.append(x)
        return len(self.parts)


def new_names(x):
    global NEW
    found = "NEW" in globals()
    NEW = x
    return found


machine = Machine()
WANTED = [
    (in_lists, (1, 1, 1)), (in_numbers, 1), (in_defaults, (1, 1)), (in_classes, (1, 1)), (make_closure(), (1, 1)),
    (in_itself, 1), (in_modules, 1), (machine.in_objects, 1), (new_names, False),
]  # fmt: skip
with octapi.Cluster() as cluster:
    for fn, wanted in WANTED:
        one_by_one = [cluster.submit(fn, n).result(60) for n in range(3)]
        batch = [job.result(60) for job in [cluster.submit(fn, n) for n in range(12)]]
        mapped = list(cluster.map(fn, range(12)))
        assert one_by_one == [wanted] * 3, (fn, one_by_one)
        assert batch == mapped == [wanted] * 12, (fn, batch, mapped)
assert (SEEN, TABLE, len(QUEUE), TOTAL, Count.number, machine.parts) == ([], {}, 0, 0, 0, [])
print("holds")
