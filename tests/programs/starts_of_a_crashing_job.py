"""A job that crashes by itself has no second start with retries=0, and its neighbours are started once."""

import pathlib

import octapi


def crash(path):
    import os

    with open(path, "a") as out:
        out.write("x")
    os._exit(3)


def note(path, n):
    with open(path, "a") as out:
        out.write("x")
    return n


with octapi.Cluster() as cluster:
    for retries in (0, None):
        calls = cluster if retries is None else cluster.options(retries=retries)
        path = pathlib.Path(f"starts-{retries}").absolute()
        notes = [pathlib.Path(f"note-{retries}-{n}").absolute() for n in range(4)]
        others = [calls.submit(note, str(notes[n]), n) for n in range(2)]
        crashed = calls.submit(crash, str(path))
        others += [calls.submit(note, str(notes[n]), n) for n in (2, 3)]
        error = crashed.exception(60)
        assert isinstance(error, octapi.JobCrashed), error
        assert error.exit_code == 3, vars(error)
        starts = len(path.read_text())
        assert starts == 1 if retries == 0 else starts == max(1, len(error.attempts)), (starts, error)
        assert [job.result(60) for job in others] == list(range(4))
        assert [note.read_text() for note in notes] == ["x"] * 4
print("holds")
