"""A script in a container of OctaPi's own, whose master may still be starting."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from octapi.client import container_start
from octapi.errors import MasterNotFound
from tests.harness import OCTAPI, Running, Yard, clean_environment

SCRIPT = "import octapi\nwith octapi.Cluster() as c:\n    job = c.submit(abs, -7)\n    print(job.result(), job.worker)"


def test_a_script_in_the_masters_container_waits_for_its_master_and_uses_the_cluster(yard: Yard) -> None:
    """Two lines pasted one after the other do what they say, whichever is quicker."""
    script = Running([sys.executable, "-c", SCRIPT], yard.home("master"), env={"OCTAPI_ROLE": "master"})
    yard.running.append(script)
    nodes = Running([*OCTAPI, "nodes"], yard.home("master"), env={"OCTAPI_ROLE": "master"})
    yard.running.append(nodes)
    script.until_says("waiting for the master of this container to start")
    yard.master()
    yard.worker("red", yard.token())

    assert script.wait(60) == 0
    assert script.said[-1] == "7 red\n"
    assert "cores" not in script.text()
    assert nodes.wait(60) == 0


def test_a_masters_container_without_a_master_is_an_error_and_no_other_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It names the log; elsewhere nothing is waited for."""
    monkeypatch.setenv("OCTAPI_HOME", str(tmp_path))
    container_start.wait_for_master(0)
    monkeypatch.setenv("OCTAPI_ROLE", "master")
    with pytest.raises(MasterNotFound, match="docker compose logs master"):
        container_start.wait_for_master(0)


def test_a_script_in_a_workers_container_says_where_the_cluster_is(tmp_path: Path) -> None:
    """It has no identity for scripts, so its own cores are what is there."""
    env = clean_environment() | {"OCTAPI_ROLE": "worker", "OCTAPI_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    assert "this is a worker's container" in done.stderr
    assert done.stdout.startswith("7 ")


def test_the_pages_link_shows_the_port_that_is_published(yard: Yard) -> None:
    """A browser outside of the container knows no other."""
    yard.master("--page", "--page-port", "0", env={"OCTAPI_PAGE_PUBLISHED": "9000"})
    assert ":9000/login?token=" in json.loads(yard.command("master", "page", "--json"))["link"]


def test_a_dispy_script_in_a_directory_that_is_read_only_keeps_its_recovery_file_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is said of it, and it is found from there."""
    from octapi.dispy import recover

    monkeypatch.setenv("OCTAPI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(recover.os, "access", lambda *_: False)
    monkeypatch.chdir(tmp_path)
    kept = recover.RecoverFile.create(None, {"address": "local", "token": "x"})
    assert kept is not None
    assert kept.path.parent == tmp_path / "home" / "recover"
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert recover.newest() == kept.path
    kept.remove()
    assert recover.newest() is None
