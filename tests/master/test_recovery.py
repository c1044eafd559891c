"""Clients that are killed: their jobs end, and what they return waits on the master until it is fetched."""

import json
import pickle
import signal
import sys
from typing import Any

import pytest

from octapi.store.location import database
from octapi.store.reader import Reader
from tests.harness import Running, Yard, ports_of, until

#: real processes on machines that may be busy
pytestmark = pytest.mark.timeout(300)

SCRIPT = """
import sys, time
import octapi

def slow(place, n):
    while not __import__("pathlib").Path(place).exists():
        time.sleep(0.05)
    if n == 2:
        raise ValueError("on purpose")
    return n * 10

cluster = octapi.Cluster()
jobs = [cluster.submit(slow, sys.argv[1], n) for n in range(4)]
print("submitted", flush=True)
time.sleep(600)
"""


class Field:
    """A master, a worker with four slots, and a laptop whose script was killed while its jobs ran."""

    def __init__(
        self,
        yard: Yard,
        env: dict[str, str] | None = None,
        workers: tuple[str, ...] = ("red",),
        code: str = SCRIPT,
        jobs: int = 4,
    ) -> None:
        self.yard = yard
        self.go = yard.states / "go"
        self.env = env or {}
        self.master = yard.master(env=self.env)
        slots = str(jobs // len(workers))
        self.workers = [yard.worker(name, yard.token(), "--slots", slots) for name in workers]
        yard.command("laptop", "login", yard.token("--role", "client"))
        script = yard.place / "killed.py"
        script.write_text(code)
        self.script = Running(
            [sys.executable, str(script), str(self.go), str(yard.place / "key")], yard.home("laptop"), env=self.env
        )
        yard.running.append(self.script)
        self.script.until_says("submitted")
        until(lambda: self.rows() and self.rows()[0]["running"] == jobs)
        self.run: str = self.rows()[0]["id"]

    def rows(self, home: str = "master") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.yard.command(home, "runs", "--json").splitlines()[0])
        return found

    def state(self) -> str:
        return str(next(row["state"] for row in self.rows() if row["id"] == self.run))

    def kill(self) -> None:
        self.script.stop(signal.SIGKILL)
        until(lambda: self.state() == "gone")

    def restart(self) -> None:
        """Start the master anew, where it was."""
        ports = ports_of(self.master)
        self.master = self.yard.master(
            ports=(str(ports["join"]), str(ports["clients"]), str(ports["dask"])), env=self.env
        )

    def release(self) -> None:
        self.go.touch()
        self.go.chmod(0o644)

    def reader(self) -> Reader:
        return Reader(database(self.yard.states / "master"))

    def recover(self, *flags: str, home: str = "laptop", code: int = 0, what: str = "") -> str:
        return self.yard.command(home, "jobs", "recover", *flags, what or self.run, code=code)


def values(said: str) -> list[Any]:
    rows = json.loads(said.splitlines()[0])
    assert [row["function"] for row in rows] == ["slow"] * len(rows)
    return [row["value"] if row["state"] == "done" else row["error"] for row in rows]


EXPECTED = [0, 10, "ValueError: on purpose", 30]


def test_results_of_a_killed_script_are_fetched_by_its_login_and_by_nobody_else(yard: Yard) -> None:
    """Another login is refused with the reason; the master's owner may hand them over; each is delivered once."""
    field = Field(yard)
    yard.command("other", "login", yard.token("--role", "client"), "--name", "mallory")
    assert "is connected, and gets its results itself" in field.recover(code=1)
    field.kill()
    assert "belongs to" in field.recover(home="other", code=1)
    said = field.recover("--timeout", "0.5", "--json")
    assert values(said) == []
    assert "nothing was dropped" in said
    field.release()
    assert values(field.recover("--json", home="master")) == EXPECTED
    assert field.state() == "collected"
    assert "Nothing of run" in field.recover(code=1)
    until(lambda: not field.reader().outcomes(field.run))
    assert field.reader().sessions(("collected", "gone")) == []


def test_results_go_to_disk_and_survive_a_master_that_is_killed_meanwhile(yard: Yard) -> None:
    """The script is dead, its jobs are over, the master is killed and started anew: everything is still delivered."""
    field = Field(yard)
    field.kill()
    field.release()
    until(
        lambda: len(field.reader().batches(field.run)) == 4 and all(row[3] for row in field.reader().batches(field.run))
    )
    assert len(field.reader().outcomes(field.run)) == 4
    field.workers[0].stop()
    field.master.stop(signal.SIGKILL)
    field.restart()
    target = yard.place / "results.pickle"
    assert "4 outcomes are in" in field.recover("--file", str(target), home="master")
    rows = pickle.loads(target.read_bytes())
    assert [row["value"] for row in rows] == [0, 10, None, 30]
    assert str(rows[2]["error"]) == "on purpose"
    assert target.stat().st_mode & 0o777 == 0o600
    assert "exists already" in field.recover("--file", str(target), home="master", code=1)


def test_jobs_that_outlive_their_script_and_their_master_are_delivered_too(yard: Yard) -> None:
    """A worker brings them to the new master; those of a worker that is gone too end in an error that says so."""
    field = Field(yard, workers=("red", "blue"))
    field.kill()
    until(lambda: len(field.reader().batches(field.run)) == 4)
    field.master.stop(signal.SIGKILL)
    field.workers[0].stop(signal.SIGKILL)
    field.restart()
    field.master.until_says("blue joined")
    field.release()
    found = values(field.recover("--json"))
    assert len(found) == 4
    lost = [text for text in found if isinstance(text, str) and text.startswith("WorkerLost: The master ended")]
    assert len(lost) == 2
    assert len([value for value in found if value in EXPECTED]) == 2
    assert field.state() == "collected"


def test_results_that_no_master_held_when_script_and_master_died_come_from_the_workers(yard: Yard) -> None:
    """Both are killed at once, before anything was written down of the jobs: their worker brings them all the same."""
    field = Field(yard)
    until(lambda: field.reader().sessions(("running",)))
    field.master.stop(signal.SIGKILL)
    field.script.stop(signal.SIGKILL)
    field.restart()
    field.master.until_says("red joined")
    assert field.state() == "interrupted"
    field.release()
    rows = json.loads(field.recover("--json").splitlines()[0])
    assert sorted(str(row["value"] if row["error"] is None else row["error"]) for row in rows) == sorted(
        map(str, EXPECTED)
    )


def test_the_room_for_results_is_bounded_and_the_limit_named(yard: Yard) -> None:
    """What does not fit ends in an error that says which setting made it so."""
    field = Field(yard, env={"OCTAPI_KEEP_MB": "0", "OCTAPI_RECONNECT_S": "0.5"})
    field.kill()
    until(lambda: len(field.reader().batches(field.run)) == 4)
    field.release()
    until(lambda: all(row[3] for row in field.reader().batches(field.run)))
    errors = [text for text in values(field.recover("--json")) if isinstance(text, str)]
    assert len(errors) == 4
    assert all("OCTAPI_KEEP_MB" in text and "0 MB" in text for text in errors)


DISPY = """
import sys, time, dispy

def slow(place, n):
    import pathlib, time
    while not pathlib.Path(place).exists():
        time.sleep(0.05)
    return n * 10

cluster = dispy.JobCluster(slow, recover_file=sys.argv[2])
jobs = [cluster.submit(sys.argv[1], n) for n in range(2)]
print("submitted", flush=True)
time.sleep(600)
"""


def test_a_recovery_file_lets_another_login_on_another_machine_fetch(yard: Yard) -> None:
    """Whoever has a dispy script's recovery file may have its results: it is the key to them."""
    field = Field(yard, code=DISPY, jobs=2)
    field.kill()
    field.release()
    key = yard.place / "copied"
    facts = json.loads((yard.place / "key").read_text())
    key.write_text(json.dumps(facts | {"address": "/home/of/another/machine/client.json"}))
    yard.command("other", "login", yard.token("--role", "client"), "--name", "friend")
    wrong = yard.place / "wrong"
    wrong.write_text(json.dumps(facts | {"token": "0" * 32}))
    assert "knows no crashed client" in yard.command("other", "jobs", "recover", "--key", str(wrong), code=1)
    code = f"import dispy; print([job() for job in dispy.recover_jobs({str(key)!r})])"
    assert "[0, 10]" in yard.run("other", code)
    assert not key.exists()


def test_a_client_that_comes_back_gets_everything_and_nothing_stays_on_disk(yard: Yard) -> None:
    """Frozen for longer than the time after which results go to disk, it goes on as if nothing had happened."""
    field = Field(yard)
    field.script.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: field.state() == "gone", 60)
        field.release()
        until(lambda: len(field.reader().outcomes(field.run)) == 4, 60)
    finally:
        field.script.process.send_signal(signal.SIGCONT)
    until(lambda: field.state() == "running", 60)
    until(lambda: not field.reader().outcomes(field.run), 60)
    assert field.reader().batches(field.run) == []
