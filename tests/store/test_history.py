"""What a real master writes down, and still knows after it was killed."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from octapi.store.location import database
from octapi.store.reader import Reader
from octapi.store.writer import Writer
from tests.harness import Yard, until

#: real processes on machines that may be busy
pytestmark = pytest.mark.timeout(300)

SCRIPT = """
import octapi
with octapi.Cluster() as cluster:
    print(sum(cluster.map(abs, range(1000))))
"""


def test_runs_and_nodes_are_still_known_after_the_master_was_killed(yard: Yard) -> None:
    """Killed without a word, it is started again and tells the same."""
    master = yard.master()
    yard.worker("red", yard.token())
    assert "499500" in yard.run("master", SCRIPT)
    state = yard.states / "master"
    reader = Reader(database(state))
    (run,) = until(lambda: [run for run in reader.runs() if run.state == "done"])
    assert (run.kind, run.slots, run.script) == ("attached", 1, "-c")
    assert run.ended is not None
    assert state.stat().st_mode & 0o007 in (0, 1)
    assert (state / "history").stat().st_mode & 0o777 == 0o700
    master.stop(signal.SIGKILL)
    yard.master()
    (again,) = reader.runs()
    assert again == run
    (node,) = until(lambda: [node for node in reader.nodes() if node["joins"] >= 1])
    assert node["name"] == "red"
    assert [event["event"] for event in reader.events("red")][-1] == "joined"


def test_a_database_that_cannot_be_written_stops_nothing_and_is_told(yard: Yard) -> None:
    """Jobs run, and 'octapi nodes' says what is wrong."""
    place = yard.states / "master" / "history" / "history.db"
    place.mkdir(parents=True)
    (place / "in the way").touch()
    master = yard.master()
    yard.worker("red", yard.token())
    assert "499500" in yard.run("master", SCRIPT)
    assert "history and outcomes of clients that go away are in memory only" in master.text()
    assert "cannot be written" in yard.command("master", "nodes")
    assert json.loads(yard.command("master", "nodes", "--json").splitlines()[0])[0]["name"] == "red"
    (place / "in the way").unlink()
    place.rmdir()
    master.until_says("the database can be written again")
    yard.run("master", SCRIPT)
    assert until(lambda: Reader(place).runs())


def test_a_state_directory_that_cannot_be_entered_is_named(yard: Yard, tmp_path: Path) -> None:
    """The master works without it."""
    (tmp_path / "file").touch()
    master = yard.master(env={"OCTAPI_STATE": str(tmp_path / "file")})
    assert "no history" in master.text()
    assert str(tmp_path / "file") in master.text()


def test_a_disk_that_is_full_stops_nothing_and_is_written_again_when_there_is_room(tmp_path: Path) -> None:
    """On a real file system of two megabytes: jobs run, the doctor says what is wrong, and it passes."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0711", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        assert not os.environ.get("CI"), mounted.stderr
        pytest.skip("this process may not mount")
    yard = Yard(tmp_path)
    try:
        fill_and_empty(yard, place)
    finally:
        yard.close()
        subprocess.run(["umount", str(place)], check=True)


def fill_and_empty(yard: Yard, place: Path) -> None:
    for path in (place.parent, *place.parent.parents):
        if path.stat().st_uid == os.geteuid() and str(path).startswith("/tmp/"):
            path.chmod(0o755)
    master = yard.master(env={"OCTAPI_STATE": str(place / "state")})
    yard.worker("red", yard.token())
    reader = Reader(database(place / "state"))
    yard.run("master", SCRIPT)
    until(lambda: len(reader.runs()) == 1)
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    for _ in range(200):
        if "cannot be written" in master.text():
            break
        yard.run("master", SCRIPT)
    assert "disk is full" in master.text()
    said = yard.command("master", "doctor", code=1)
    assert "FAIL  database" in said
    assert "disk is full" in said
    ballast.unlink()
    master.until_says("the database can be written again")
    assert "database" not in yard.command("master", "doctor", code=0)
    before = len(reader.runs())
    yard.run("master", SCRIPT)
    until(lambda: len(reader.runs()) > before)
    with sqlite3.connect(reader.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_disk_that_becomes_read_only_is_the_same(tmp_path: Path) -> None:
    """Remounted read-only under a running writer, and back."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        assert not os.environ.get("CI"), mounted.stderr
        pytest.skip("this process may not mount")
    said: list[str] = []
    try:
        found = Writer(place / "history.db", said.append)
        found.put("INSERT INTO node_events VALUES ('red', 1.0, 'joined', '')", ())
        found.flush().result(30)
        found.close()
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        found = Writer(place / "history.db", said.append)
        found.put("INSERT INTO node_events VALUES ('red', 2.0, 'left', '')", ())
        until(lambda: said)
        assert "cannot be written" in said[0]
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        until(lambda: len(said) == 2)
        found.close()
        assert said[1] == ""
        assert [event["at"] for event in Reader(place / "history.db").events("red")] == [2.0, 1.0]
    finally:
        subprocess.run(["umount", str(place)], check=True)
