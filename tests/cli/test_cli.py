"""The octapi command, as people and scripts run it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import octapi
from octapi.cli import demo, nodes
from octapi.testing import EmbeddedCluster
from tests.harness import until
from tests.terminal import Seen

OCTAPI = [sys.executable, "-m", "octapi.cli.app"]


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(workers=1, slots=2) as found:
        yield found


def command(*arguments: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*OCTAPI, *arguments], capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ, **env)
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_help_names_every_command_and_imports_no_dask() -> None:
    """A command that only answers must answer at once."""
    text = command("--help").stdout
    for name in ("demo", "run", "master", "worker", "nodes", "jobs", "bench", "version"):
        assert f" {name} " in text
    code = "import sys, octapi.cli.app; print(any(m.split('.')[0] in ('dask', 'distributed') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_version_is_the_packages() -> None:
    """One number, for scripts."""
    assert command("version").stdout == octapi.__version__ + "\n"


def test_run_gives_the_scripts_exit_code_output_and_table(embedded: EmbeddedCluster, tmp_path: Path) -> None:
    """An unchanged dispy script; its stdout stays clean, the table of who did what goes to stderr."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, dispy\n"
        "def compute(n):\n    return n * 2\n"
        "cluster = dispy.JobCluster(compute)\n"
        "print([cluster.submit(n)() for n in range(3)], sys.argv[1:])\n"
        "sys.exit(7)\n"
    )
    done = command("run", str(script), "--flag", "x", code=7, OCTAPI_ADDRESS=embedded.address)

    assert done.stdout == "[0, 2, 4] ['--flag', 'x']\n"
    assert "Total job time" in done.stderr


def test_run_says_when_there_is_no_script() -> None:
    """A message, not a traceback."""
    assert command("run", "absent.py", code=1).stderr == "octapi: There is no script absent.py.\n"


def test_jobs_lists_scripts_and_stops_them(embedded: EmbeddedCluster) -> None:
    """Who uses the cluster, how far they are; stopping one cancels its jobs."""
    with octapi.Cluster(embedded.address) as cluster:
        job = cluster.submit(time.sleep, 100)

        def running() -> list[dict[str, object]]:
            rows = json.loads(command("jobs", "--address", embedded.address, "--json").stdout)
            return [row for row in rows if row.get("running") == 1]

        (row,) = until(running)
        assert row["functions"] == ["sleep"]
        assert "sleep" in command("jobs", "--address", embedded.address).stdout
        assert (
            "no script number 12345" in command("jobs", "--address", embedded.address, "--stop", "12345", code=1).stderr
        )
        command("jobs", "--address", embedded.address, "--stop", str(row["number"]))

        assert isinstance(job.exception(timeout=30), octapi.errors.JobStopped)


def test_nodes_and_jobs_say_where_nobody_answers() -> None:
    """The exit code is 1 and the message says what to do."""
    for name in ("nodes", "jobs"):
        done = command(name, "--address", "127.0.0.1:9", code=1, OCTAPI_PATIENCE_S="0.2")
        assert "No master answers at 127.0.0.1:9" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_master_and_a_worker_end_cleanly_at_ctrl_c(capfd: pytest.CaptureFixture[str]) -> None:
    """SIGINT ends both with code 0 or 130, without a traceback, and nothing is left running."""
    with EmbeddedCluster(workers=1) as embedded:
        for process in reversed(embedded.processes):
            process.send_signal(signal.SIGINT)
            assert process.wait(20) in (0, 130)
    assert "Traceback" not in capfd.readouterr().err


def test_ctrl_c_stops_a_script_and_its_jobs(embedded: EmbeddedCluster, tmp_path: Path) -> None:
    """The with block ends at once instead of waiting for a hundred seconds."""
    script = tmp_path / "script.py"
    script.write_text(
        "import time, octapi\n"
        "with octapi.Cluster() as cluster:\n"
        "    job = cluster.submit(time.sleep, 100)\n"
        "    while not job.running():\n        pass\n"
        "    print('running', flush=True)\n"
        "    job.result()\n"
    )
    env = dict(os.environ, OCTAPI_ADDRESS=embedded.address)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0


def test_progress_is_shown_on_a_terminal_and_not_in_a_pipe(embedded: EmbeddedCluster, tmp_path: Path) -> None:
    """Done, total and rate; nothing of it when stderr is no terminal."""
    script = tmp_path / "script.py"
    script.write_text(
        "import time, octapi\n"
        "with octapi.Cluster() as cluster:\n"
        "    print(len(list(cluster.map(lambda n: time.sleep(0.1), range(30)))))\n"
    )
    env = dict(os.environ, OCTAPI_ADDRESS=embedded.address)
    seen = Seen([sys.executable, str(script)], stdout=subprocess.DEVNULL, stderr="pty", env=env)
    assert seen.code == 0
    assert any("/30" in line for line in seen.foot())
    piped = subprocess.run([sys.executable, str(script)], capture_output=True, env=env, check=True, timeout=60)
    assert piped.stderr == b""
    assert piped.stdout == b"30\n"


def test_bench_measures_the_cluster(embedded: EmbeddedCluster) -> None:
    """Numbers for scripts."""
    found = json.loads(command("bench", "--address", embedded.address, "--json").stdout)

    assert found["slots"] == 2
    assert min(found.values()) > 0


def test_a_demonstration_finds_its_script_in_a_package_and_in_a_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An editable installation has no examples of its own, and uses those of the checkout."""
    package, checkout = tmp_path / "src" / "octapi", tmp_path / "examples"
    package.mkdir(parents=True)
    monkeypatch.setattr(demo.octapi, "__file__", str(package / "__init__.py"))
    assert demo.example("compute.py") == checkout / "compute.py"
    (package / "examples").mkdir()
    (package / "examples" / "compute.py").touch()
    assert demo.example("compute.py") == package / "examples" / "compute.py"


def test_a_demonstration_ends_with_three_lines_that_say_what_to_do_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the command is not installed yet, its installation comes first."""
    monkeypatch.setattr(demo.shutil, "which", lambda _: None)
    lines = demo.what_next(False).splitlines()
    assert len(lines) == 4
    assert "--page" in lines[0]
    assert "./scripts/install" in lines[1]
    monkeypatch.setattr(demo.shutil, "which", lambda _: "/usr/local/bin/octapi")
    lines = demo.what_next(True).splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["master", "token", "run"]


def test_nodes_says_since_when_a_worker_is_away_and_who_runs_another_release() -> None:
    """Both are what somebody who looks after devices wants to know first."""
    here = {"name": "red", "release": "0.0.9", "address": "10.0.0.2", "slots": 4, "python": "3.13.1", "state": "ok"}
    members = [{"name": name, "role": "worker", "since": 1.7e9, "ends": 1.8e9} for name in ("red", "blue", "green")]
    facts = {"workers": [here], "members": members, "time": 1.75e9, "release": "0.1.0", "seen": {"blue": 1.74e9}}

    rows = {row["name"]: nodes.cells(row) for row in nodes.table(facts)}
    assert rows["red"][2] == "10.0.0.2"
    assert str(rows["blue"][2]).startswith("not here since 2025-02-")
    assert rows["green"][2] == "not here now"
    assert nodes.other_releases(facts) == ["red runs OctaPi 0.0.9, the master 0.1.0. Install the same release on both."]
