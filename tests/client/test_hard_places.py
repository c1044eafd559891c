"""The engine in hard places: slow jobs among quick ones, floods, strangers, and what a cluster shares."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import octapi
from octapi.protocol.stdio_json import to_line
from octapi.testing import EmbeddedCluster
from tests.harness import Yard


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(workers=2, slots=1) as found:
        yield found


@pytest.fixture(scope="module")
def cluster(embedded: EmbeddedCluster) -> Iterator[octapi.Cluster]:
    with octapi.Cluster(embedded.address) as found:
        yield found


def sometimes_slow(n: int) -> int:
    if n == 700:
        time.sleep(8)
    return n


def test_one_slow_job_does_not_delay_the_others(cluster: octapi.Cluster) -> None:
    """2,999 quick jobs are done while the slow one of their batch still runs."""
    jobs = [cluster.submit(sometimes_slow, n) for n in range(3_000)]
    others = jobs[:700] + jobs[701:]

    assert [job.result(timeout=60) for job in others] == [n for n in range(3_000) if n != 700]
    assert not jobs[700].done()
    assert jobs[700].result(timeout=60) == 700


def test_one_slow_item_of_a_map_does_not_delay_the_others(cluster: octapi.Cluster) -> None:
    """As they come, 2,999 results are there while the slow item still runs."""
    results = cluster.map(sometimes_slow, range(3_000), ordered=False)
    first = [next(results) for _ in range(2_999)]

    assert 700 not in first
    assert next(results) == 700


def flood(megabytes: int) -> str:
    for _ in range(megabytes):
        os.write(1, b"x" * 1_000_000)
        os.write(2, b"y" * 1_000_000)
    return "done"


def test_a_flood_of_output_below_python_fails_that_job_alone(cluster: octapi.Cluster) -> None:
    """What C code or child processes print counts like prints: 100 MB fill neither a pipe nor the memory."""
    job = cluster.submit(flood, 50)

    assert isinstance(job.exception(timeout=60), octapi.errors.OutputTooLarge)
    assert len(job.stdout) <= 16_000_000
    assert cluster.submit(abs, -1).result(timeout=60) == 1


def test_a_flood_of_print_fails_that_job_alone(cluster: octapi.Cluster) -> None:
    """The error says what to do instead."""

    def printing() -> None:
        for _ in range(100):
            print("z" * 1_000_000)

    jobs = [cluster.submit(abs, -1), cluster.submit(printing), cluster.submit(abs, -2)]

    assert isinstance(jobs[1].exception(timeout=60), octapi.errors.OutputTooLarge)
    assert [jobs[0].result(timeout=60), jobs[2].result(timeout=60)] == [1, 2]


def test_a_long_script_with_long_jobs_leaves_room_for_another(embedded: EmbeddedCluster) -> None:
    """The second script's job takes the next slot that comes free, not the one after all others."""
    with octapi.Cluster(embedded.address) as long, octapi.Cluster(embedded.address) as short:
        many = [long.submit(time.sleep, 0.3) for _ in range(40)]
        many[0].result(timeout=60)
        assert short.submit(abs, -3).result(timeout=60) == 3
        assert sum(job.done() for job in many) < 20
        for job in many:
            job.cancel()


def draw(name: str, text: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text + Path("brought.txt").read_text())
    octapi.send_file(name)
    return name


def test_files_go_along_and_come_home(cluster: octapi.Cluster, tmp_path: Path) -> None:
    """Options name what is sent and where what comes home is put; the job knows its files."""
    (tmp_path / "brought.txt").write_text(" world")
    calls = cluster.options(files=(tmp_path / "brought.txt",), files_to=tmp_path / "home")
    job = calls.submit(draw, "plots/a.txt", "hello")

    assert job.result(timeout=60) == "plots/a.txt"
    assert job.files == [tmp_path / "home" / "plots" / "a.txt"]
    assert job.files[0].read_text() == "hello world"


def test_a_file_cannot_leave_the_directory_it_is_put_in(cluster: octapi.Cluster, tmp_path: Path) -> None:
    """A worker decides what a file is called, and the client where it may lie."""
    from octapi.protocol.computation import File

    for name in ("../outside.txt", "/etc/outside.txt", "a/../../outside.txt"):
        with pytest.raises(octapi.JobError, match="leaves the job's directory"):
            File(name, b"x").place(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_send_file_outside_a_job_is_an_error() -> None:
    """The message says where it works."""
    with pytest.raises(octapi.OctapiError, match="inside a job only"):
        octapi.send_file("x")


def test_a_job_tells_where_when_and_with_how_much_memory_it_ran(cluster: octapi.Cluster) -> None:
    """Worker, times and peak memory in bytes."""
    before = time.time()

    def eat() -> int:
        return len(bytearray(80_000_000))

    job = cluster.submit(eat)
    assert job.result(timeout=60) == 80_000_000
    assert job.worker in {"worker-1", "worker-2"}
    assert job.started is not None
    assert job.ended is not None
    assert before - 1 < job.started <= job.ended < time.time() + 1
    assert job.memory > 80_000_000


def test_a_worker_of_another_protocol_is_refused_on_both_sides(embedded: EmbeddedCluster) -> None:
    """The worker ends with a message, and the master keeps working."""
    code = (
        "from octapi.protocol import wire; wire.PROTOCOL = wire.OLDEST_PROTOCOL = 99;"
        "from octapi.worker.connection import main; main()"
    )
    start = to_line(embedded.start_of("stranger"))
    done = subprocess.run(
        [sys.executable, "-c", code], input=start, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 1
    assert "Install the same release on both" in done.stderr
    with octapi.Cluster(embedded.address) as cluster:
        assert {worker.name for worker in cluster.workers()} == {"worker-1", "worker-2"}


def test_the_client_needs_nothing_that_windows_lacks(embedded: EmbeddedCluster, tmp_path: Path) -> None:
    """Without fcntl, resource, pwd and fork a script uses a cluster, by both interfaces; alone it is told why not."""
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio, getpass, multiprocessing, os, subprocess, sys\n"
        "for name in ('fcntl', 'resource', 'pwd', 'grp', 'termios'):\n    sys.modules[name] = None\n"
        "del os.fork, os.getuid\n"
        "import octapi, dispy\n"
        "def double(n):\n    return n * 2\n"
        "with octapi.Cluster(sys.argv[1], progress=False) as cluster:\n"
        "    print(cluster.submit(double, 4).result(), list(cluster.map(double, range(3))))\n"
        "cluster = dispy.JobCluster(double)\n"
        "print(cluster.submit(5)())\n"
        "cluster.shutdown()\n"
        "try:\n    octapi.Cluster('local')\n"
        "except octapi.ClusterError as error:\n    print(error)\n"
    )
    env = dict(os.environ, OCTAPI_ADDRESS=embedded.address, USER="somebody")
    command = [sys.executable, str(script), embedded.address]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=env, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 [0, 2, 4]\n10\nNo cluster was found, and this system cannot run jobs")


def test_the_last_master_is_used_when_none_is_named(yard: Yard) -> None:
    """On a trusted network: it is said on stderr; one that is gone is said too, and the script runs here."""
    code = "import octapi\nwith octapi.Cluster() as c:\n    print(c.submit(abs, -1).result())"
    last = yard.home("laptop") / "last-master"
    insecure = {"OCTAPI_INSECURE": "1"}
    last.write_text("127.0.0.1:9\n")

    heard = yard.run("laptop", code, env=insecure)
    assert "the last master, 127.0.0.1:9, does not answer" in heard
    assert "no cluster found; using this computer's" in heard

    master = yard.start("plain", "master", "--insecure", "--port", "0", "--dask-port", "0")
    clients, workers = re.findall(r"(?:clients|workers) at ([0-9.:]+)", master.until_says("workers at"))
    yard.start("red", "worker", workers, "--insecure", "--slots", "1").until_says("joined")
    last.write_text(clients + "\n")
    assert f"using the cluster at {clients}: 1 worker, 1 slot" in yard.run("laptop", code, env=insecure)


def test_modules_and_packages_beside_the_script_reach_workers_that_join_later(tmp_path: Path) -> None:
    """No depends, no installation; a function of a module travels by its name."""
    (tmp_path / "helper.py").write_text("from deep.inner import value\ndef answer(n):\n    return n * value()\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "__init__.py").write_text("")
    (tmp_path / "deep" / "inner.py").write_text("from deep import other\ndef value():\n    return other.NUMBER\n")
    (tmp_path / "deep" / "other.py").write_text("NUMBER = 7\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, octapi, helper\n"
        "if __name__ == '__main__':\n"
        "    with octapi.Cluster(sys.argv[1]) as cluster:\n"
        "        job = cluster.submit(helper.answer, 6)\n"
        "        print('submitted', flush=True)\n"
        "        print(job.result(timeout=60), cluster.submit(lambda: helper.answer(1)).result(timeout=60))\n"
    )
    with EmbeddedCluster(workers=0) as embedded:
        command = [sys.executable, str(script), embedded.address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "submitted\n"
            embedded.add_worker("late")
            assert process.stdout.read() == "42 7\n"
