"""Workers that are killed, freeze, or are emptied for an upgrade: their jobs run elsewhere, once where it matters."""

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

import octapi
from octapi.client.failed_attempts import without
from octapi.client.item_range import ItemRange
from octapi.errors import WorkerLost
from octapi.testing import EmbeddedCluster
from tests.faults.test_connections import lines, start
from tests.harness import Yard, until

#: earlier than a worker that says nothing is lost, and long enough for a busy computer, in seconds
AT_ONCE_S = 8.0


def slow(n: int, path: str) -> int:
    """Write down that it runs, and take a while."""
    import time

    with Path(path).open("a") as file:
        file.write(f"{n}\n")
    time.sleep(0.5)
    return n


def worker_of(job: octapi.Job) -> str:
    """Return where a job runs; an empty text while it waits."""
    return job.worker or ""


def test_the_jobs_of_a_killed_worker_run_elsewhere_at_once(tmp_path: Path) -> None:
    """The loss is seen long before silence would show it; a job that must not start twice names the worker."""
    path = str(tmp_path / "ran")
    with EmbeddedCluster(workers=2) as embedded, octapi.Cluster(embedded.address) as cluster:
        once = [cluster.options(retries=0).submit(slow, n, path) for n in range(100, 104)]
        jobs = [cluster.submit(slow, n, path) for n in range(8)]
        until(lambda: "worker-1" in [worker_of(job) for job in once if job.running()])
        embedded.processes[1].kill()
        until(lambda: len(cluster.engine.workers()) == 1, AT_ONCE_S)

        assert [job.result() for job in jobs] == list(range(8))
        errors = [error for job in once if (error := job.exception()) is not None]
        assert {type(error) for error in errors} == {WorkerLost}
        assert [error for error in errors if "[worker worker-1]" not in str(error)] == []
        ran = Counter(lines(Path(path)))
        assert all(ran[str(n)] <= 1 for n in range(100, 104))


def test_a_frozen_worker_is_noticed_drained_and_welcome_again(tmp_path: Path) -> None:
    """It is called silent, then lost; its jobs run elsewhere, and when it thaws it takes jobs again, without ghosts."""
    yard = Yard(tmp_path)
    try:
        yard.master()
        token = yard.token()
        yard.worker("red", token)
        green = yard.worker("green", token)
        ran = tmp_path / "ran"
        script = start(yard, ran, OCTAPI_TEST_RETRIES="2")
        until(lambda: len(lines(ran)) >= 10)
        family = [psutil.Process(green.process.pid), *psutil.Process(green.process.pid).children(recursive=True)]
        for process in family:
            process.suspend()
        until(lambda: "silent" in yard.command("master", "nodes"), 30)
        script.until_says("all 200", 60)
        assert script.wait() == 0
        for process in family:
            process.resume()

        until(lambda: len(json.loads(yard.command("master", "nodes", "--json"))) == 2)
        until(lambda: [row.get("state") for row in rows(yard)] == ["ok", "ok"], 60)
        assert sorted(row["name"] for row in rows(yard)) == ["green", "red"]
        code = "import octapi\nwith octapi.Cluster() as c: print(c.options(worker='green').submit(abs, -7).result())"
        assert yard.run("master", code).splitlines()[-1] == "7"
    finally:
        yard.close()


def rows(yard: Yard) -> list[dict[str, object]]:
    """Return what ``octapi nodes`` says."""
    found: list[dict[str, object]] = json.loads(yard.command("master", "nodes", "--json"))
    return found


def test_workers_are_upgraded_one_by_one_without_losing_a_job(yard: Yard, tmp_path: Path) -> None:
    """Drained, restarted, back: jobs that must not start twice all end well."""
    yard.master()
    token = yard.token()
    ran = tmp_path / "ran"
    running = {name: yard.worker(name, token) for name in ("red", "green")}
    script = start(yard, ran)
    until(lambda: len(lines(ran)) >= 10)
    for name, worker in running.items():
        assert "is drained" in yard.command("master", "nodes", "drain", name, "--wait")
        assert {row["state"] for row in rows(yard) if row["name"] == name} == {"drained"}
        worker.stop(signal.SIGTERM)
        yard.worker(name)
    script.until_says("all 200", 60)

    assert script.wait() == 0
    assert Counter(lines(ran)) == {str(n): 1 for n in range(200)}
    assert "takes jobs again" in yard.command("master", "nodes", "resume", "red")
    assert "No worker 'blue' is here" in yard.command("master", "nodes", "drain", "blue", code=1)


def test_a_frozen_slot_is_killed_and_its_job_runs_elsewhere(tmp_path: Path) -> None:
    """Only its job is touched; the worker goes on."""
    path = tmp_path / "pid"
    with EmbeddedCluster(workers=2) as embedded, octapi.Cluster(embedded.address) as cluster:
        job = cluster.submit(hang_once, str(path))
        pid = int(until(lambda: path.exists() and path.read_text()))
        os.kill(pid, signal.SIGSTOP)

        assert job.result() == "second time"
        assert len(cluster.engine.workers()) == 2


def hang_once(path: str) -> str:
    """Say who runs it, and wait to be stopped; the second time, do not."""
    import os
    import time
    from pathlib import Path

    if Path(path).exists():
        return "second time"
    Path(path).with_suffix(".new").write_text(str(os.getpid()))
    Path(path).with_suffix(".new").rename(path)
    while True:
        time.sleep(0.1)


def ends_its_agent(n: int, path: str) -> int:
    """Kill the worker that runs this job, if its number says so: the fourth process from here is its agent."""
    import time

    if n != 3:
        return n
    with Path(path).open("a") as file:
        file.write(f"{n}\n")
    pid = os.getpid()
    for _ in range(3):
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(pid, signal.SIGKILL)
    time.sleep(60)
    return n


def test_a_job_that_ends_workers_ends_two_of_them_and_the_others_of_its_batch_have_their_results(
    tmp_path: Path,
) -> None:
    """However many retries it has: on its second worker it runs by itself, and that is seen as its doing."""
    path = str(tmp_path / "ran")
    with EmbeddedCluster(workers=4) as embedded, octapi.Cluster(embedded.address) as cluster:
        single = cluster.options(retries=9).submit(ends_its_agent, 3, path)
        assert isinstance(single.exception(60), WorkerLost)
        assert len(lines(Path(path))) == 2
        assert "It ran each time when a worker's process ended" in str(single.exception())
        assert [attempt.cause for attempt in single.exception().attempts] == ["its worker's process ended"] * 2

    with EmbeddedCluster(workers=3) as embedded, octapi.Cluster(embedded.address) as cluster:
        Path(path).unlink()
        found = cluster.options(retries=9).map(ends_its_agent, range(8), [path] * 8)
        assert [next(found) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(WorkerLost):
            next(found)
        assert len(lines(Path(path))) == 2


def test_an_item_that_ended_its_worker_goes_its_own_way() -> None:
    """What is left of its batch comes back without it."""
    page: Any = None
    span = ItemRange(page, 0, 10, None, 2, 0)

    found = without([span.piece(0, 4), span.piece(4, 9)], span.piece(5, 6))

    assert [(part.start, part.stop) for part in found] == [(0, 4), (4, 5), (6, 9)]
