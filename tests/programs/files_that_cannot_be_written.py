"""A file of a job that cannot be written here is that job's error; the others, and the script, go on."""

import pathlib

import octapi


def make(n, name="answer.txt"):
    pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(name).write_text(str(n))
    octapi.send_file(name)
    return n


taken = pathlib.Path("taken")
(taken / "answer.txt").mkdir(parents=True)
no_directory = pathlib.Path("no_directory")
no_directory.write_text("a file is here")
good = pathlib.Path("good")
with octapi.Cluster() as cluster:
    for place in (taken, no_directory):
        job = cluster.options(files_to=place).submit(make, 1)
        others = [cluster.submit(abs, -n) for n in range(5)]
        fine = cluster.options(files_to=good).submit(make, 2)
        error = job.exception(60)
        assert not isinstance(error, TimeoutError), error
        told = f"{error} {job.stderr} {''.join(getattr(error, '__notes__', []))}"
        assert "answer.txt" in told, (place, error, job.stderr, job.files)
        assert not job.files, job.files
        assert [other.result(60) for other in others] == list(range(5))
        assert fine.result(60) == 2
        assert [path.read_text() for path in fine.files] == ["2"], fine.files
        assert cluster.submit(abs, -9).result(60) == 9
        mapped = cluster.options(files_to=place).map(make, [1])
        try:
            list(mapped)
        except octapi.OctapiError as error:
            assert "answer.txt" in str(error), error
        assert list(cluster.map(abs, [-1, -2])) == [1, 2]
print("holds")
