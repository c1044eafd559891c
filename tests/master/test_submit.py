"""Detached runs: scripts that live on the master, whatever becomes of whoever submitted them, and of the master."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Running, Yard, until

#: real processes on machines that may be busy
pytestmark = pytest.mark.timeout(300)

SCRIPT = """
import sys
import time
from pathlib import Path
import helper
import octapi

print("begins", sys.argv[1:], flush=True)
with octapi.Cluster() as cluster:
    print("sum", sum(cluster.map(helper.square, range(10))), Path("data/numbers.txt").read_text().strip(), flush=True)
if sys.argv[1] == "wait":
    Path("waits").touch()
    print("waits", flush=True)
    time.sleep(600)
if sys.argv[1] == "fail":
    raise ValueError("on purpose")
"""


@pytest.fixture
def desk(yard: Yard) -> Yard:
    """Give a yard with a master, a worker, and a laptop that is logged in and has a script."""
    yard.master()
    yard.worker("red", yard.token())
    yard.command("laptop", "login", yard.token("--role", "client"))
    place = yard.place / "scripts"
    (place / "data").mkdir(parents=True)
    (place / "long.py").write_text(SCRIPT)
    (place / "helper.py").write_text("def square(n):\n    return n * n\n")
    (place / "data" / "numbers.txt").write_text("1 2 3\n")
    return yard


def submit(yard: Yard, *arguments: str, home: str = "laptop", options: tuple[str, ...] = ()) -> str:
    place = yard.place / "scripts"
    flags = ("--json", "--file", str(place / "data"), *options)
    said = yard.command(home, "submit", *flags, str(place / "long.py"), *arguments)
    found: str = json.loads(said.splitlines()[0])["run"]
    return found


def row(yard: Yard, run: str, home: str = "laptop") -> dict[str, Any]:
    rows = json.loads(yard.command(home, "runs", "--json").splitlines()[0])
    return next(found for found in rows if found["id"] == run)


def follow(yard: Yard, run: str, home: str = "laptop") -> Running:
    return yard.start(home, "logs", "-f", run, env={"PYTHONUNBUFFERED": "1"})


def test_a_script_is_submitted_from_a_laptop_with_its_modules_and_files(desk: Yard) -> None:
    """It runs on the cluster, its output can be followed, and 'octapi runs' tells how it ended."""
    run = submit(desk, "go", "--flag", "two words")
    log = follow(desk, run.rpartition("-")[2])
    assert log.wait() == 0
    assert "begins ['go', '--flag', 'two words']" in log.text()
    assert "sum 285 1 2 3" in log.text()
    found = until(lambda: (now := row(desk, run))["state"] == "done" and now)
    assert (found["script"], found["kind"], found["exit_code"]) == ("long.py", "submitted", 0)
    assert found["done"] == 10
    assert desk.command("laptop", "logs", run) == log.text()
    table = desk.command("laptop", "runs")
    assert run in table
    assert "long.py go --flag two words" in table


def test_a_failed_run_shows_its_exit_code_and_its_last_words(desk: Yard) -> None:
    """Also for scripts: 'logs -f' ends with the run's exit code."""
    run = submit(desk, "fail")
    log = follow(desk, run)
    assert log.wait() == 1
    assert "octapi: the run ended with exit code 1." in log.text()
    found = until(lambda: (now := row(desk, run))["state"] == "failed" and now)
    assert found["error"].endswith("ValueError: on purpose")
    assert "failed, exit code 1: ValueError: on purpose" in desk.command("laptop", "runs")


def test_a_run_is_stopped_by_its_owner_or_the_masters_and_by_nobody_else(desk: Yard) -> None:
    """Another login sees that it is there, but neither its output nor its end is theirs."""
    desk.command("other", "login", desk.token("--role", "client"), "--name", "mallory")
    run = submit(desk, "wait")
    follow(desk, run).until_says("waits")
    assert row(desk, run, home="other")["state"] == "running"
    for command in ("logs", "stop"):
        said = desk.command("other", command, run, code=1)
        assert "Only the login that started it, and the account that runs the master, may do that" in said
    assert "waits" in desk.command("master", "logs", run)
    assert "is stopped" in desk.command("master", "stop", run)
    assert row(desk, run)["state"] == "stopped"
    assert "did not run any more" in desk.command("laptop", "stop", run)
    rows = json.loads(desk.command("laptop", "jobs", "--json").splitlines()[0])
    assert [found for found in rows if found["run"] == run] == []


def processes_of(run: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"OCTAPI_RUN={run}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_after_the_masters_end_restartable_runs_start_again_and_others_are_interrupted(
    desk: Yard, ending: signal.Signals
) -> None:
    """No process of the old ones is left; the submitter was away all the time."""
    again, once = submit(desk, "wait", options=("--restartable",)), submit(desk, "wait")
    for run in (again, once):
        follow(desk, run).until_says("waits")
    old = {pid for run in (again, once) for pid in until(lambda run=run: processes_of(run))}
    desk.running[0].stop(ending)
    until(lambda: not any(Path(f"/proc/{pid}").exists() and alive(pid) for pid in old))
    desk.master()
    found = until(lambda: (now := row(desk, again, home="master"))["state"] == "running" and now)
    assert found["restarts"] == 1
    other = row(desk, once, home="master")
    assert (other["state"], other["restarts"]) == ("interrupted", 0)
    assert "The master ended meanwhile." in other["error"]
    until(lambda: desk.command("master", "logs", again).count("begins") == 2)
    assert "the run was interrupted" in desk.command("master", "logs", "-f", once)
    desk.command("master", "stop", again)
    assert not processes_of(again)


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_too_large_an_upload_is_refused_with_the_limit_that_can_be_set(desk: Yard) -> None:
    """And nothing of it stays on the master."""
    big = desk.place / "big.bin"
    with big.open("wb") as file:
        file.truncate(2 << 20)
    desk.running[0].stop()
    desk.master(env={"OCTAPI_UPLOAD_MB": "1"})
    script = desk.place / "scripts" / "helper.py"
    said = desk.command("master", "submit", "--file", str(big), str(script), code=1)
    assert "more than 1 MB" in said
    assert "OCTAPI_UPLOAD_MB" in said
    assert "There is no script nowhere.py" in desk.command("master", "submit", "nowhere.py", code=1)
    twice = desk.place / "helper.py"
    twice.touch()
    assert "would both be helper.py" in desk.command("master", "submit", "--file", str(twice), str(script), code=1)
    assert desk.command("master", "runs").startswith("No script has used the cluster")


def test_a_masters_clients_without_encryption_submit_too(yard: Yard) -> None:
    """An --insecure master keeps scripts in the same way."""
    script = yard.place / "hello.py"
    script.write_text("import sys; print('hello', sys.argv[1]); sys.exit(3)")
    master = yard.start("master", "master", "--insecure", "--port", "0", "--dask-port", "0")
    place = master.until_says("clients at").split("clients at ")[1].split(",")[0]
    env = {"OCTAPI_INSECURE": "1", "OCTAPI_ADDRESS": place}
    run = yard.command("master", "submit", str(script), "ada", env=env).splitlines()[0]
    assert "hello ada" in yard.command("master", "logs", "-f", run, code=3, env=env)
    until(lambda: "failed, exit code 3" in yard.command("master", "runs", env=env))
