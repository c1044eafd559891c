"""In a forked child the script's cluster works or says at once that it belongs to another process; its own go on."""

import os

import octapi


def double(n):
    return 2 * n


def in_a_child(act):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if act() else 2
        except octapi.OctapiError as error:
            print("the child was told:", error, flush=True)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def own():
    with octapi.Cluster("local", slots=1) as mine:
        return mine.submit(double, 4).result(60) == 8


with octapi.Cluster() as cluster:
    assert cluster.submit(double, 1).result(60) == 2
    acts = {
        "submit": lambda: cluster.submit(double, 2).result(60) == 4,
        "map": lambda: list(cluster.map(double, [1, 2])) == [2, 4],
        "workers": lambda: len(cluster.workers()) > 0,
        "shutdown": lambda: cluster.shutdown() is None,
        "a cluster of its own": own,
    }
    for label, act in acts.items():
        code = in_a_child(act)
        assert code == 0, (label, code)
        assert cluster.submit(double, 3).result(60) == 6, label
print("holds")
