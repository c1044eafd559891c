"""Started by root, a master runs each submitted script under an account that nobody else has."""

import json
import os
import sys
from pathlib import Path

import pytest

from octapi.device.accounts import RUN_UIDS
from tests.harness import Yard, until

if os.geteuid():
    assert not os.environ.get("CI"), "CI must run as root"
    pytest.skip("only root can give accounts to processes", allow_module_level=True)

from tests.trust.test_accounts import open_python, status_of

SPY = """
import json, os, sys

def tries(path):
    try:
        if os.path.isdir(path):
            return bool(os.listdir(path))
        open(path, "rb").read(1)
        return True
    except OSError as error:
        return type(error).__name__

def kills(pid):
    try:
        os.kill(pid, 0)
        return True
    except PermissionError:
        return False

paths, pids = json.loads(sys.argv[1]), json.loads(sys.argv[2])
found = {"uid": os.getuid(), "groups": os.getgroups(), "umask": os.umask(0), "env": sorted(os.environ)}
found["read"] = {path: tries(path) for path in paths}
found["kill"] = [kills(pid) for pid in (*pids, os.getppid())]
found["own"] = sorted(os.listdir("."))
os.mkdir("made"); os.symlink("/etc/passwd", ".octapi/link")
import octapi
with octapi.Cluster() as cluster:
    found["sum"] = sum(cluster.map(abs, range(-3, 3)))
print("FOUND", json.dumps(found))
"""


def test_a_submitted_script_reads_no_key_no_history_and_nothing_of_other_runs(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of one login cannot read or end each other either; both use the cluster with identities of their own."""
    python, env = open_python()
    monkeypatch.setattr("tests.harness.OCTAPI", [python, "-m", "octapi.cli.app"])
    monkeypatch.setattr(sys, "executable", python)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    master = yard.master()
    assert "everything runs as root" not in master.text()
    yard.worker("red", yard.token())
    script = yard.place / "spy.py"
    script.write_text("import time; print('here', flush=True); time.sleep(600)")
    first = yard.command("master", "submit", str(script)).split()[0]
    other = yard.states / "master" / "runs" / first
    until(lambda: "here" in yard.command("master", "logs", first))
    children = Path(f"/proc/{master.process.pid}/task/{master.process.pid}/children").read_text().split()
    pids = [int(pid) for pid in children]
    paths = [
        yard.home("master") / "authority" / "authority.json",
        yard.states / "master" / "history",
        yard.states / "master" / "history" / "history.db",
        yard.states / "master" / "runs",
        other / "home",
        other / "home" / ".octapi" / "client.json",
        other / "facts.json",
        *other.glob("log.*"),
        Path(f"/proc/{master.process.pid}/environ"),
        Path(f"/proc/{pids[-1]}/environ"),
    ]
    assert [path for path in paths if not path.exists()] == []
    script.write_text(SPY)
    run = yard.command("master", "submit", str(script), json.dumps([str(p) for p in paths]), json.dumps(pids)).split()[
        0
    ]
    said = yard.command("master", "logs", "-f", run)
    found = json.loads(said.split("FOUND ")[1])
    assert set(found["read"].values()) == {"PermissionError"}, found["read"]
    assert not any(found["kill"])
    assert found["uid"] in RUN_UIDS
    assert found["groups"] == []
    assert found["umask"] == 0o077
    assert found["own"] == [".octapi", "spy.py"]
    assert found["sum"] == 9
    assert not [key for key in found["env"] if "TOKEN" in key or "PASS" in key]
    users = {status_of(pid).split("Uid:\t")[1].split()[0] for pid in pids}
    assert len(users) == 2
    assert str(found["uid"]) not in users
    yard.command("master", "stop", first)
    until(lambda: not any(f"Uid:\t{uid}" in text for uid in RUN_UIDS for text in statuses()))


def statuses() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return found
