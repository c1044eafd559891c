"""A job that changes its directory, even to one that is removed, leaves later jobs of the same function theirs."""

import pathlib

import octapi


def moves_away(n):
    import os
    import tempfile

    text = open("given.txt").read()
    before = sorted(os.listdir())
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        open("scratch", "w").write("y")
    return text, before


def moves_up(n):
    import os

    here = os.path.exists("given.txt")
    os.chdir("/")
    return here


def removes_its_own(n):
    import os
    import shutil

    here = os.path.exists("given.txt")
    shutil.rmtree(os.getcwd(), ignore_errors=True)
    return here


def spoils_its_file(n):
    import os

    text = open("given.txt").read()
    os.remove("given.txt")
    open("given.txt", "w").write("spoilt")
    return text


pathlib.Path("given.txt").write_text("x")
with octapi.Cluster() as cluster:
    calls = cluster.options(files="given.txt")
    for fn, wanted in (
        (moves_away, ("x", ["given.txt"])),
        (moves_up, True),
        (removes_its_own, True),
        (spoils_its_file, "x"),
    ):
        one_by_one = [calls.submit(fn, n).result(60) for n in range(3)]
        batch = [job.result(60) for job in [calls.submit(fn, n) for n in range(8)]]
        mapped = list(calls.map(fn, range(8)))
        assert one_by_one == [wanted] * 3, (fn, one_by_one)
        assert batch == [wanted] * 8, (fn, batch)
        assert mapped == [wanted] * 8, (fn, mapped)
print("holds")
