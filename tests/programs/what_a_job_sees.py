"""A job sees the script's arguments, names, annotations and source; what it cannot have fails at once."""

import inspect
import os
import sys

if len(sys.argv) == 1:
    os.execv(sys.executable, [sys.executable, __file__, "one", "--two"])

import octapi

SETTING = "blue"


def arguments():
    import sys

    return sys.argv[1:]


def the_file():
    return __file__


def the_name():
    return __name__


def asks():
    return input("? ")


def reads():
    import sys

    return sys.stdin.read()


def its_source():
    import inspect

    return inspect.getsource(its_source).splitlines()[0]


def hinted(x: int, *, y: "list[str]" = ()) -> str:
    return dict(hinted.__annotations__)


def documented(x=1, /, y=2, *, z=3):
    """Say it."""
    import inspect

    return documented.__doc__, documented.__qualname__, documented.__module__, str(inspect.signature(documented))


def setting():
    return SETTING


class Holder:
    """Hold it."""

    x: int = 1

    def hinted(self):
        return type(self).__annotations__, type(self).__doc__, type(self).__module__, type(self).__qualname__


def identity():
    return octapi.job_id() is not None


CALLS = [
    (arguments, ["one", "--two"]), (the_file, __file__), (the_name, "__main__"), (reads, ""), (setting, "blue"),
    (its_source, "def its_source():"),
    (documented, ("Say it.", "documented", "__main__", "(x=1, /, y=2, *, z=3)")),
    (Holder().hinted, ({"x": int}, "Hold it.", "__main__", "Holder")), (identity, True),
]  # fmt: skip
assert inspect.getsource(setting), "the program has its source"
with octapi.Cluster() as cluster:
    for fn, wanted in CALLS:
        seen = cluster.submit(fn).result(60)
        assert seen == wanted, (fn, seen)
        mapped = list(cluster.map(lambda _: fn(), [0]))
        assert mapped == [wanted], (fn, mapped)
    assert cluster.submit(hinted, 1).result(60) == {"x": int, "y": "list[str]", "return": str}
    assert isinstance(cluster.submit(asks).exception(60), EOFError)
    SETTING = "red"
    assert cluster.submit(setting).result(60) == "red"
print("holds")
