"""The compose file that people use: a secured cluster of containers, and what it lives through."""

import json
from pathlib import Path

import pytest

from tests.containers.engine import Project, docker, inspect
from tests.harness import until

OUTSIDE = (Path(__file__).parent / "outside.py").read_text()
#: jobs that say where they ran
LONG = """
import octapi, time, collections
def work(n):
    import socket, time
    time.sleep(0.5)
    return n, socket.gethostname()
with octapi.Cluster() as cluster:
    jobs = [cluster.submit(work, n) for n in range({count})]
    jobs[3].result()
    print("under way")
    found = [job.result() for job in jobs]
assert [n for n, _ in found] == list(range({count})), found
print("hosts", *collections.Counter(host for _, host in found))
"""


def hostname(container: str) -> str:
    """Return the name under which a container's worker is known."""
    return inspect(container, "{{.Config.Hostname}}")


def test_images_and_compose_file_hold_no_secret_and_no_tool(image: str, cluster: Project) -> None:
    """Keys are made at first start; what is not needed to run is not there."""
    found = docker(
        "run", "--rm", "--entrypoint", "sh", image, "-c",
        "ls -A /root/.octapi /join /etc/ssh/ssh_host_* /var/lib/octapi 2>/dev/null | grep -v :;"
        "for tool in gcc cc make pip pip3 git curl wget; do command -v $tool; done; python3 -V", code=None,
    )  # fmt: skip
    rows = json.loads(cluster.exec("master", "octapi", "token", "list", "--json"))

    assert found.split() == ["Python", found.split()[-1]], found
    assert found.split()[-1].startswith("3.13")
    assert [row["role"] for row in rows] == ["worker"]
    assert len({inspect(name, "{{.Config.Image}}") for name in cluster.containers()}) == 1


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("./compute.py",), "speedup"),
        (("./compute_pi_efficient.py", "2000", "100"), "pi is about 3.1"),
        (("./enigma_bf_efficient.py", "YJPYITREDSYUPIU", "THISXISXWORKING"), "speedup"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_the_octapis_scripts_run_in_the_master(cluster: Project, command: tuple[str, ...], expected: str) -> None:
    """By python3 ./script.py in the directory where a shell begins; all workers take part."""
    said = cluster.exec("master", "python3", *command)

    assert expected in said
    assert "using the cluster" in said
    for container in cluster.containers():
        assert hostname(container) in said


def test_an_unchanged_dispy_script_from_elsewhere_runs(cluster: Project) -> None:
    """With setup, callback and provisional results."""
    cluster.put("outside.py", OUTSIDE)

    assert "all squares are right" in cluster.exec("master", "python3", "/tmp/outside.py")


def test_the_master_logs_into_each_worker_and_nobody_else_does(cluster: Project) -> None:
    """By plain ssh without a question; a worker and a stranger with a key of its own are turned away."""
    workers = {hostname(container): container for container in cluster.containers()}
    for name in workers:
        assert cluster.exec("master", "ssh", name, "hostname").strip() == name
    rows = json.loads(cluster.exec("master", "octapi", "nodes", "run", "--json", "--", "cat", "/etc/hostname"))
    assert {row["name"]: row["stdout"].strip() for row in rows} == {name: name for name in workers}

    first, second, *_ = workers
    address = inspect(workers[first], "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    stranger = (
        "ssh-keygen -q -t ed25519 -N '' -f /tmp/key; ssh -F none -i /tmp/key -o BatchMode=yes "
        f"-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p 8722 root@{address} true"
    )
    assert "Permission denied" in cluster.exec(workers[second], "sh", "-c", stranger, code=255)


def test_files_are_copied_to_named_workers_with_an_answer_for_each(cluster: Project) -> None:
    """What cluster_action.sh did; a worker that is not there is named before anything is done."""
    first, second, third = (hostname(container) for container in cluster.containers())
    cluster.put("gift.txt", "for you")

    said = cluster.exec("master", "octapi", "nodes", "copy", "/tmp/gift.txt", "/tmp/", "--on", f"{first},{second}")
    assert said.count(" ok") == 2
    there = cluster.exec("master", "octapi", "nodes", "run", "--json", "--", "cat", "/tmp/gift.txt", code=None)
    answers = {row["name"]: row["stdout"] for row in json.loads(there.splitlines()[0])}
    assert answers == {first: "for you", second: "for you", third: ""}
    assert "No worker nobody" in cluster.exec("master", "octapi", "nodes", "run", "--on", "nobody", "true", code=1)
    refused = cluster.exec("master", "octapi", "nodes", "reboot", "--on", third, code=1)
    assert "agent" in refused


def test_jobs_run_under_an_account_of_their_own_and_the_root_file_system_is_read_only(cluster: Project) -> None:
    """A job can neither read the worker's identity nor write beside its own directory."""
    code = """
import octapi
def look():
    import os, pathlib
    said = [os.getuid() != 0]
    for act in (lambda: pathlib.Path("/root/.octapi/worker.json").read_text(), lambda: pathlib.Path("/usr/x").touch()):
        try:
            act()
        except OSError as error:
            said.append(type(error).__name__)  # OSError: the file system is read-only
    return said
with octapi.Cluster() as cluster:
    print(cluster.submit(look).result())
"""
    assert "[True, 'PermissionError', 'OSError']" in cluster.python(code)
    for container in (*cluster.containers(), *cluster.containers("master")):
        assert inspect(container, "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}}") == "true false"
        assert "Read-only" in cluster.exec(container, "touch", "/usr/x", code=1)


def test_a_fourth_worker_joins_during_a_run_and_gets_work(cluster: Project) -> None:
    """And when it goes again, nothing is missing."""
    script = cluster.script(LONG.format(count=120))
    script.until_says("under way")
    before = set(cluster.containers())
    cluster.compose("up", "-d", "--no-build", "--no-recreate", "--scale", "worker=4")
    (fourth,) = set(cluster.containers()) - before

    assert hostname(fourth) in script.end()

    docker("rm", "-fv", fourth)
    until(lambda: len(cluster.nodes()) == 3)


def test_workers_that_are_scaled_away_are_on_no_list(cluster: Project) -> None:
    """They leave it when they are stopped; those that are killed are shown as away."""
    cluster.compose("up", "-d", "--no-build", "--no-recreate", "--scale", "worker=4")
    until(lambda: len(cluster.nodes()) == 4, 60)
    cluster.compose("up", "-d", "--no-build", "--no-recreate", "--scale", "worker=3")

    here = {hostname(container) for container in cluster.containers()}
    listed = json.loads(cluster.exec("master", "octapi", "nodes", "--json"))
    assert {row["name"] for row in listed if row["online"]} == here
    assert len([row for row in listed if not row["online"]]) <= 1  # the one that a test above removed by force


def test_a_worker_that_is_killed_during_a_run_loses_nothing(cluster: Project) -> None:
    """Its jobs run elsewhere; the container's restart brings it back as the member it was."""
    oom_candidate = cluster.containers()[0]
    script = cluster.script(LONG.format(count=60))
    script.until_says("under way")
    docker("kill", oom_candidate)

    script.end()

    docker("start", oom_candidate)
    until(lambda: hostname(oom_candidate) in {row["name"] for row in cluster.nodes()}, 60)


def test_a_worker_that_is_told_to_stop_hands_its_jobs_back_and_ends_in_time(cluster: Project) -> None:
    """Well before the engine would kill it, which would show as exit code 137."""
    oom_candidate = cluster.containers()[0]
    script = cluster.script(LONG.format(count=60))
    script.until_says("under way")
    docker("stop", "-t", "10", oom_candidate)

    assert inspect(oom_candidate, "{{.State.ExitCode}} {{.State.OOMKilled}}") in ("0 false", "143 false")
    script.end()

    docker("start", oom_candidate)
    until(lambda: hostname(oom_candidate) in {row["name"] for row in cluster.nodes()}, 60)


def test_the_health_check_tells_a_stuck_worker_from_a_busy_one(cluster: Project) -> None:
    """Busy slots do not make a worker look stuck; one whose process does not go on does."""
    oom_candidate = cluster.containers()[1]
    check = ("octapi", "health", "--patience", "7")
    script = cluster.script(
        "import octapi\ndef burn():\n    import time\n    end = time.monotonic() + 9\n"
        "    while time.monotonic() < end: pass\n"
        "with octapi.Cluster() as c:\n    jobs = [c.submit(burn) for _ in range(12)]\n    print('under way')\n"
    )
    script.until_says("under way")
    assert "working for" in cluster.exec(oom_candidate, *check)
    script.end()
    assert "working for" in cluster.exec(oom_candidate, *check)

    pid = json.loads(cluster.exec(oom_candidate, "cat", "/run/octapi/worker.pulse"))["pid"]
    cluster.exec(oom_candidate, "kill", "-STOP", str(pid))
    try:
        until(lambda: "stuck" in cluster.exec(oom_candidate, *check, code=None))
        assert cluster.exec(oom_candidate, *check, code=1)
    finally:
        cluster.exec(oom_candidate, "kill", "-CONT", str(pid))
    until(lambda: len(cluster.nodes()) == 3, 60)


def test_the_master_stops_in_time_and_its_cluster_is_there_again(cluster: Project) -> None:
    """Identity and tokens lie in named volumes; the workers find it without a new token."""
    before = cluster.exec("master", "octapi", "token", "list", "--json")
    master = cluster.containers("master")[0]
    docker("stop", "-t", "10", master)
    assert inspect(master, "{{.State.ExitCode}}") in ("0", "143")

    cluster.compose("up", "-d", "--no-build", "--force-recreate", "--no-deps", "master")

    until(lambda: len(cluster.nodes()) == 3, 90)
    assert cluster.exec("master", "octapi", "token", "list", "--json") == before


def test_two_lines_pasted_one_after_the_other_run_the_script_on_the_workers(image: str) -> None:
    """The master still starts when the second comes: it is waited for, and nothing frightening is said."""
    project = Project("compose.yaml")
    try:
        project.compose("up", "-d", "--no-build", "--scale", "worker=2")
        said = project.exec("master", "python3", "./compute.py")
        names = {hostname(container) for container in project.containers()}
    finally:
        project.down()
    assert "using the cluster" in said
    assert any(name in said for name in names)
    for frightening in ("cores.", "recovery", "Read-only"):
        assert frightening not in said
