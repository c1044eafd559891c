"""Globals that do not pickle and that a forked process has are there: locks, events, local and context variables."""

import contextvars
import threading

import octapi

LOCK = threading.Lock()
AGAIN = threading.RLock()
EVENT = threading.Event()
CHANGE = threading.Condition()
PLACES = threading.BoundedSemaphore(2)
LOCAL = threading.local()
LEVEL = contextvars.ContextVar("LEVEL", default=1)
EMPTY = contextvars.ContextVar("EMPTY")


def locked(x):
    with LOCK, AGAIN, AGAIN, CHANGE, PLACES:
        LOCAL.value = x
        return LOCAL.value, LOCK.locked(), helper()


def helper():
    return LOCK.locked(), EVENT.is_set(), LEVEL.get(), EMPTY.get("none")


class Model:
    def free(self):
        return helper()


with octapi.Cluster() as cluster:
    assert cluster.submit(locked, 3).result(60) == (3, True, (True, False, 1, "none"))
    LOCK.acquire()
    EVENT.set()
    LEVEL.set(2)
    EMPTY.set("full")
    assert cluster.submit(locked, 3).result(60) == (3, True, (True, True, 2, "full"))
    assert cluster.submit(Model().free).result(60) == (False, True, 2, "full")
    LEVEL.set(3)
    assert list(cluster.map(lambda x: (x, LEVEL.get()), [1, 2])) == [(1, 3), (2, 3)]
    try:
        cluster.submit(id, LOCK).result(60)
    except octapi.OctapiError as error:
        assert "argument 1" in str(error), error
    else:
        raise AssertionError("a lock has travelled as an argument")
print("holds")
