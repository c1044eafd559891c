"""Every link says which workers there are, and gives back what was lost with one: once, and to nobody else."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import octapi
from octapi.errors import JobCrashed, WorkerLost
from tests.harness import until
from tests.links.bench import Bench
from tests.links.sites import RemoteSite, kill
from tests.links.test_contract import DOUBLE, WAITS, running


def terminate(process: subprocess.Popen[str]) -> None:
    """End a worker as its keeper does: it may say goodbye."""
    process.terminate()
    process.wait(30)


ENDS = pytest.mark.parametrize("end", [kill, terminate], ids=["killed", "stopped"])


def test_a_worker_that_joins_gets_the_batch_that_waits_for_it(cluster_bench: Bench, cluster_place: RemoteSite) -> None:
    digest = cluster_bench.define(DOUBLE)
    ident = cluster_bench.run(digest, (4,), worker="late")
    assert cluster_bench.of(ident) == []
    process = cluster_place.add("late")
    cluster_bench.until_said(ident, "end")

    assert "late" in cluster_bench.heard.workers
    assert cluster_bench.values(ident) == {0: 8}
    kill(process)
    cluster_bench.until(lambda: "late" not in cluster_bench.heard.workers)


def test_a_worker_that_joins_begins_the_setup_of_what_names_it(cluster_bench: Bench, cluster_place: RemoteSite) -> None:
    text = "def prepare():\n    return 0\ndef f():\n    return 1\n"
    digest = cluster_bench.define(text, setup="prepare", limits={"named": 1})
    process = cluster_place.add("named")
    said = cluster_bench.until_said(digest, "ready")

    assert said == ("ready", digest)
    kill(process)
    cluster_bench.until(lambda: "named" not in cluster_bench.heard.workers)


@ENDS
def test_what_a_worker_had_is_lost_once_after_it_is_gone(
    cluster_bench: Bench,
    cluster_place: RemoteSite,
    end: Callable[[subprocess.Popen[str]], None],
    tmp_path: Path,
) -> None:
    process = cluster_place.add("short")
    cluster_bench.until(lambda: "short" in cluster_bench.heard.workers)
    digest = cluster_bench.define(WAITS)
    ident = cluster_bench.run(digest, (str(tmp_path), "one"), (str(tmp_path), "two"), worker="short")
    cluster_bench.until(lambda: running(tmp_path, "one"))
    end(process)
    lost = cluster_bench.until_said(ident, "lost")
    after = cluster_bench.run(digest, (str(tmp_path), "three"))
    (tmp_path / "go").touch()
    cluster_bench.until_said(after, "end")

    assert lost[:3] == ("lost", ident, 2)
    assert cluster_bench.of(ident)[-1] == lost
    assert len(cluster_bench.of(ident, "lost", "end")) == 1
    events = cluster_bench.heard.events
    gone = next(place for place, event in enumerate(events) if event[:4:2] == ("message", "lost"))
    known = [event for event in events[:gone] if event[0] == "workers"]
    assert "short" not in known[-1][1:]


def count_of(counts: Path, number: int) -> int:
    """Return how often a job was started."""
    path = counts / str(number)
    return path.stat().st_size if path.exists() else 0


@ENDS
def test_jobs_of_a_lost_worker_run_again_and_each_has_one_result(
    cluster_place: RemoteSite, end: Callable[[subprocess.Popen[str]], None], tmp_path: Path
) -> None:
    def once(number: int, place: str, go: str) -> int:
        import pathlib
        import time

        with pathlib.Path(place, f"{number}").open("a") as file:
            file.write("x")
        while not pathlib.Path(go).exists():
            time.sleep(0.01)
        return number

    process = cluster_place.add("brief")
    go = tmp_path / "go"
    counts = tmp_path / "counts"
    counts.mkdir()
    done: list[int] = []
    with cluster_place.cluster() as cluster:
        until(lambda: "brief" in {worker.name for worker in cluster.workers()})
        jobs = [cluster.submit(once, number, str(counts), str(go)) for number in range(12)]
        for job in jobs:
            job.add_done_callback(lambda job: done.append(job.result()))
        until(lambda: any(job.worker == "brief" and count_of(counts, number) for number, job in enumerate(jobs)))
        end(process)
        until(lambda: "brief" not in {worker.name for worker in cluster.workers()})
        go.touch()
        results = [job.result(timeout=60) for job in jobs]

    assert results == list(range(12))
    assert sorted(done) == list(range(12))
    starts = [count_of(counts, number) for number in range(12)]
    assert max(starts) <= 2
    assert sum(starts) - len(starts) == 1  # only the one that the lost worker ran


def test_a_job_without_retries_fails_with_its_worker_and_says_so(cluster_place: RemoteSite, tmp_path: Path) -> None:
    process = cluster_place.add("gone")
    with cluster_place.cluster() as cluster:
        until(lambda: "gone" in {worker.name for worker in cluster.workers()})
        job = cluster.options(worker="gone", retries=0).submit(wait_for, str(tmp_path / "go"))
        until(job.running)
        kill(process)
        error = job.exception(timeout=60)

    assert isinstance(error, WorkerLost | JobCrashed)
    assert "gone" in str(error)


def test_a_map_survives_workers_that_come_and_go(cluster_place: RemoteSite) -> None:
    def slow(number: int) -> int:
        import time

        time.sleep(0.002)
        return number

    processes = [cluster_place.add(f"rest-{number}") for number in range(2)]
    with cluster_place.cluster() as cluster:
        results = cluster.map(slow, range(1500))
        found = [next(results) for _ in range(100)]
        kill(processes[0])
        found += [next(results) for _ in range(200)]
        processes.append(cluster_place.add("fresh"))
        kill(processes[1])
        found += list(results)

    assert found == list(range(1500))
    kill(processes[2])


def wait_for(path: str) -> None:
    """Be a job that ends when a file is there."""
    import pathlib
    import time

    while not pathlib.Path(path).exists():
        time.sleep(0.01)


def test_a_script_that_names_a_worker_runs_there(cluster_place: RemoteSite) -> None:
    with cluster_place.cluster() as cluster:
        job = cluster.options(worker="worker-1").submit(abs, -4)

        assert job.result(timeout=60) == 4
        assert job.worker == "worker-1"


def test_a_cancelled_job_is_cancelled_and_the_slot_goes_on(cluster_place: RemoteSite, tmp_path: Path) -> None:
    with cluster_place.cluster() as cluster:
        job = cluster.submit(wait_for, str(tmp_path / "never"))
        until(job.running)

        assert job.cancel()
        until(job.done)
        assert cluster.submit(abs, -1).result(timeout=60) == 1


def test_files_and_output_come_home(cluster_place: RemoteSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> str:
        import pathlib

        print("written")
        pathlib.Path("answer.txt").write_text(pathlib.Path("question.txt").read_text() + " 42")
        octapi.send_file("answer.txt")
        return "done"

    monkeypatch.chdir(tmp_path)
    (tmp_path / "question.txt").write_text("six times seven is")
    with cluster_place.cluster() as cluster:
        job = cluster.options(files=("question.txt",), files_to="home").submit(write)

        assert job.result(timeout=60) == "done"
        assert job.files[0].read_text() == "six times seven is 42"
        assert job.stdout == "written\n"
