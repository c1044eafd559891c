"""Functions, classes and exceptions of test modules work in jobs in each of pytest's import modes."""

import pathlib
import subprocess
import sys

TESTS = """
import os
import octapi, pytest

class Mistake(Exception): pass

class Held:
    def __init__(self, x): self.x = x

def increased(x):
    if x < 0: raise Mistake("negative")
    return x + 1

def prints():
    print("from the job")

@pytest.fixture(scope="module")
def cluster():
    with octapi.Cluster() as found: yield found

def test_map(cluster): assert list(cluster.map(increased, [1, 2])) == [2, 3]
def test_error(cluster):
    with pytest.raises(Mistake, match="negative"): cluster.submit(increased, -1).result(60)
    with pytest.raises(Mistake): list(cluster.map(increased, [-1]))
def test_class(cluster):
    assert cluster.submit(lambda held: held.x, Held(4)).result(60) == 4
    assert type(cluster.submit(Held, 4).result(60)) is Held
def test_closure(cluster):
    k = 5
    assert cluster.submit(lambda: increased(k)).result(60) == 6
def test_patched(cluster, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert cluster.submit(increased, 1).result(60) == 2
def test_captured(cluster, capsys):
    job = cluster.submit(prints)
    job.result(60)
    assert job.stdout == "from the job\\n"
    assert "from the job" not in capsys.readouterr().out
@pytest.mark.parametrize("n", range(3))
def test_helpers(cluster, n, help): assert cluster.submit(help, n).result(60) == n * 3
"""
CONFTEST = "import pytest\ndef triple(x): return x * 3\n@pytest.fixture\ndef help(): return triple\n"
place = pathlib.Path("tests/deep")
place.mkdir(parents=True)
(place / "test_jobs.py").write_text(TESTS)
(place / "conftest.py").write_text(CONFTEST)
for mode in ("prepend", "append", "importlib"):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--import-mode={mode}", "tests"],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (mode, done.stdout[-3000:], done.stderr[-500:])
    assert "9 passed" in done.stdout, done.stdout
print("holds")
