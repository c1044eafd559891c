"""What a real master writes down, and still knows after it was killed."""

import json
import signal
from pathlib import Path

from octapi.store.place import database
from octapi.store.reader import Reader
from tests.yard import Yard, until

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
