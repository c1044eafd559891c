"""Slots tell numerical libraries how many threads to use, so that all slots together use the cores there are."""

import octapi

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def settings(names):
    import os

    return [os.environ.get(name) for name in names], os.cpu_count()


def product():
    try:
        import numpy
    except ImportError:
        return None
    import os

    square = numpy.ones((200, 200))
    square @ square
    return len(os.listdir("/proc/self/task"))


def more():
    import os

    os.environ["OMP_NUM_THREADS"] = "3"
    return os.environ["OMP_NUM_THREADS"]


with octapi.Cluster() as cluster:
    slots = {worker.name: worker.slots for worker in cluster.workers()}
    for name in slots:
        calls = cluster.options(worker=name)
        numbers, cores = calls.submit(settings, NAMES).result(60)
        assert numbers, "no setting was asked for"
        assert all(number and 1 <= int(number) <= max(1, cores // slots[name]) for number in numbers), (numbers, cores)
        threads = calls.submit(product).result(60)
        assert threads is None or threads <= int(numbers[0]) + 1, (threads, numbers)
        assert calls.submit(more).result(60) == "3"
        assert calls.submit(settings, NAMES).result(60)[0] == numbers
print("holds")
