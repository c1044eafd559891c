"""Each item of map is what it was when the generator gave it, though the generator writes over it."""

import octapi


class Frame:
    def __init__(self):
        self.number = -1


def buffers(make, change, count):
    made = make()
    for n in range(count):
        change(made, n)
        yield made


def put(buffer, n):
    buffer[0] = n


def add(row, n):
    row.append(n)


def enter(table, n):
    table["n"] = n


def number(frame, n):
    frame.number = n


def first(buffer):
    return int(buffer[0])


def entered(table):
    return table["n"]


def numbered(frame):
    return frame.number


def pair(row, table):
    return len(row), table["n"]


KINDS = [
    (lambda: bytearray(3), put, first),
    (lambda: [0], put, first),
    (dict, enter, entered),
    (Frame, number, numbered),
]
try:
    import numpy
except ImportError:
    pass
else:
    KINDS.append((lambda: numpy.zeros(1000), put, first))
with octapi.Cluster() as cluster:
    for make, change, read in KINDS:
        seen = list(cluster.map(read, buffers(make, change, 60)))
        assert seen == list(range(60)), (read, seen)
    lengths = list(cluster.map(len, buffers(list, add, 60)))
    assert lengths == list(range(1, 61)), lengths
    both = list(cluster.map(pair, buffers(list, add, 20), buffers(dict, enter, 20)))
    assert both == [(n + 1, n) for n in range(20)], both
    inside = list(cluster.map(sum, ([row, row][n % 2] for n, row in enumerate(buffers(list, add, 20)))))
    assert inside == [sum(range(n + 1)) for n in range(20)], inside
    row, jobs = [], []
    for n in range(20):
        row.append(n)
        jobs.append(cluster.submit(len, row))
    row.clear()
    assert [job.result(60) for job in jobs] == list(range(1, 21))
print("holds")
