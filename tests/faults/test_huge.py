"""Huge arguments, results, functions and numbers of files: they arrive, or are refused with a limit that is named."""

import textwrap
from pathlib import Path

import psutil
import pytest

import octapi
from octapi.errors import JobNotSent, ResultTooLarge
from octapi.testing import EmbeddedCluster
from tests.faults.relay import Relay
from tests.harness import Yard, ports_of


def make(megabytes: int) -> bytes:
    """Return so much."""
    return bytes(megabytes << 20)


@pytest.mark.timeout(240)
def test_two_hundred_megabytes_go_in_and_come_out_and_the_master_stays_bounded() -> None:
    """As argument, as result, and fifty in a function; many large results at once do not pile up at the master."""
    blob = bytes(50 << 20)
    with EmbeddedCluster(workers=2) as embedded, octapi.Cluster(embedded.address) as cluster:
        assert cluster.submit(len, bytes(200 << 20)).result() == 200 << 20
        assert len(cluster.submit(make, 200).result()) == 200 << 20
        assert cluster.submit(lambda n: len(blob) + n, 1).result() == (50 << 20) + 1
        jobs = [cluster.submit(make, 2) for _ in range(150)]
        assert {len(job.result()) for job in jobs} == {2 << 20}
        assert psutil.Process(embedded.processes[0].pid).memory_info().rss < 900 << 20


def test_what_is_larger_than_the_limit_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument before it is sent, a result where it was made; jobs beside them are as always."""
    monkeypatch.setenv("OCTAPI_LARGEST_MB", "5")
    with EmbeddedCluster(workers=1) as embedded, octapi.Cluster(embedded.address) as cluster:
        error = cluster.submit(len, bytes(6 << 20)).exception()
        assert isinstance(error, JobNotSent)
        assert "largest_mb" in str(error)
        error = cluster.submit(make, 6).exception()
        assert isinstance(error, ResultTooLarge)
        assert "OCTAPI_LARGEST_MB" in str(error)
        assert cluster.submit(len, bytes(4 << 20)).result() == 4 << 20
        mapped = cluster.map(len, [b"x", bytes(6 << 20)])
        assert next(mapped) == 1
        with pytest.raises(JobNotSent):
            next(mapped)


def test_a_master_with_a_smaller_limit_is_not_sent_what_it_would_not_read(yard: Yard) -> None:
    """Neither by the script nor by the worker, whose connections would end; jobs beside it are as always."""
    small = {"OCTAPI_LARGEST_MB": "5"}
    yard.master(env=small)
    yard.worker("red", yard.token())
    code = """
        import octapi
        blob = bytes(80 << 20)
        def told(job):
            error = job.exception(60)
            print(type(error).__name__, "largest_mb" in str(error).lower(), job.worker)
        with octapi.Cluster() as c:
            told(c.submit(len, bytes(6 << 20)))
            told(c.submit(lambda: len(blob)))
            told(c.submit(lambda: bytes(80 << 20)))
            print(c.submit(len, bytes(4 << 20)).result(60), len(c.submit(bytes, 40 << 20).result(60)))
    """
    said = yard.run("master", textwrap.dedent(code)).splitlines()
    assert [line.split()[:2] for line in said[-4:-1]] == [
        ["JobNotSent", "True"],
        ["JobNotSent", "True"],
        ["BatchRefused", "True"],
    ]
    assert said[-1] == f"{4 << 20} {40 << 20}"


def test_a_long_message_over_a_slow_line_is_a_sign_of_life(yard: Yard) -> None:
    """It takes longer than a silence may; nobody hangs up on it."""
    master = yard.master()
    yard.worker("red", yard.token())
    relay = Relay(ports_of(master)["clients"], bytes_per_s=1e6)
    try:
        code = "import octapi\nwith octapi.Cluster() as c: print(c.submit(len, bytes(25 << 20)).result())"
        said = yard.run("master", code, env={"OCTAPI_ADDRESS": f"127.0.0.1:{relay.port}"})
        assert said.splitlines()[-1] == str(25 << 20)
        assert relay.made == 1
    finally:
        relay.close()


def test_ten_thousand_files_are_sent(tmp_path: Path, yard: Yard) -> None:
    """They are there when the job runs."""
    for number in range(10_000):
        (tmp_path / f"f{number}.txt").write_text(str(number))
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import dispy, pathlib
        def count():
            import pathlib
            return sum(1 for path in pathlib.Path().glob('f*.txt') if path.read_text() == path.stem[1:])
        cluster = dispy.JobCluster(count, depends=[str(p) for p in pathlib.Path({str(tmp_path)!r}).glob('f*.txt')])
        print(cluster.submit()())
        """)
    )
    with EmbeddedCluster(workers=1) as embedded:
        run = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
        said = yard.run("home", run, env={"OCTAPI_ADDRESS": embedded.address})
    assert said.splitlines()[-1] == "10000"
