"""files= takes a path or several of any kind, sends what is in them at the call, and names the one that is missing."""

import os
import pathlib

import octapi


def read(name="data.txt"):
    return pathlib.Path(name).read_text()


def listing():
    return sorted(os.listdir())


path = pathlib.Path("data.txt")
path.write_text("first")
pathlib.Path("under").mkdir()
pathlib.Path("under/more.txt").write_text("more")
with octapi.Cluster() as cluster:
    ways = ["data.txt", path, path.absolute(), ["data.txt"], ("data.txt",), [path]]
    for way in ways:
        assert cluster.options(files=way).submit(read).result(60) == "first", way
    calls = cluster.options(files=["data.txt"])
    for text in ("second, longer", "SECOND, LONGER", "", "third"):
        path.write_text(text)
        assert calls.submit(read).result(60) == text, text
        assert list(calls.map(read, ["data.txt"] * 2)) == [text, text], text
        assert cluster.options(files="data.txt").submit(lambda: read()).result(60) == text, text
    jobs = []
    for n in range(6):
        path.write_text(str(n))
        jobs.append(calls.submit(read))
    assert [job.result(60) for job in jobs] == list("012345"), [job.result() for job in jobs]
    both = cluster.options(files=["data.txt", "under/more.txt"]).submit(listing).result(60)
    assert [name for name in ("data.txt", "more.txt") if name in both] == ["data.txt", "more.txt"], both
    assert "data.txt" not in cluster.submit(listing).result(60)

    for missing in ("absent.txt", "under/absent.txt", "under"):
        for call in (lambda c: c.submit(read).result(60), lambda c: list(c.map(read, ["data.txt"]))):
            try:
                call(cluster.options(files=["data.txt", missing]))
            except Exception as error:
                assert missing in str(error), error
                assert "pickle" not in str(error), error
            else:
                raise AssertionError(f"{missing} was sent")
    for wrong in (5, [None], [b"data.txt\xff"], [["data.txt"]]):
        try:
            cluster.options(files=wrong).submit(read).result(60)
        except (octapi.OctapiError, TypeError, ValueError) as error:
            assert "pickle" not in str(error), error
        else:
            raise AssertionError(f"files={wrong!r} was taken")
print("holds")
