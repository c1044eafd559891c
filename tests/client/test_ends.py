"""Every wait ends: where no worker can, where the master is gone, where a worker is not there."""

from pathlib import Path

import pytest

import octapi
from octapi.errors import FileNotWritten, MasterLost, SetupFailed, StillWaiting
from octapi.protocol.worker_messages import Refused
from octapi.testing import EmbeddedCluster
from tests.client.test_core import Told, world_of
from tests.harness import until


class Sly:
    """What no slot can load."""

    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("__import__('not_there_at_all')",)


def unloadable() -> object:
    """Make a function that no worker can load."""
    sly = Sly()
    return lambda _: sly


def test_a_function_that_no_worker_can_load_fails_each_time_at_once() -> None:
    """Submitted, mapped, and submitted again; other functions run."""
    with octapi.Cluster("local", slots=2) as cluster:
        function = unloadable()
        for _ in range(2):
            with pytest.raises(SetupFailed, match="not_there_at_all"):
                cluster.submit(function, 1).result(60)  # type: ignore[arg-type]
            with pytest.raises(SetupFailed):
                list(cluster.map(function, [1, 2], timeout=60))  # type: ignore[arg-type]
        jobs = [cluster.submit(function, number) for number in range(20)]  # type: ignore[arg-type]
        assert {type(job.exception(60)) for job in jobs} == {SetupFailed}
        assert cluster.submit(abs, -1).result(60) == 1


def test_a_refusal_is_remembered_by_worker_until_that_one_has_gone() -> None:
    """What all refuse fails at once; a worker that joins, or the same one started anew, is asked."""
    core, world, queue = world_of(1)
    (info,) = core.infos.values()
    core.message("w", Refused(queue.digest, "no"))
    first, second, third = (Told(number, 1) for number in range(3))
    queue.submit(first)
    assert first.done
    core.workers_changed({"w": info, "v": info._replace(name="v")})
    queue.submit(second)
    assert not second.done
    assert world.flying
    core.message("v", Refused(queue.digest, "no"))
    assert second.done
    core.workers_changed({"w": info._replace(life="anew"), "v": info._replace(name="v")})
    queue.submit(third)
    assert not third.done


def test_after_the_master_is_lost_jobs_fail_at_once_with_that_name() -> None:
    """Those that ran, those that waited, and those that come later; maps too."""
    with EmbeddedCluster(workers=1, slots=1) as embedded, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCTAPI_RECONNECT_S", "1")
        cluster = octapi.Cluster(embedded.address)
        jobs = [cluster.submit(__import__("time").sleep, 60) for _ in range(3)]
        until(jobs[0].running)
        results = cluster.map(abs, range(10))
        embedded.processes[0].kill()
        assert {type(job.exception(60)) for job in jobs} == {MasterLost}
        with pytest.raises(MasterLost, match="did not come back within 1 s"):
            list(results)
        assert isinstance(cluster.submit(abs, 1).exception(10), MasterLost)
        assert isinstance(cluster.options(worker="worker-1").submit(len, "1").exception(10), MasterLost)
        with pytest.raises(MasterLost):
            list(cluster.map(len, ["1"], timeout=10))
        cluster.shutdown()


def test_a_worker_that_is_not_there_is_waited_for_aloud(capfd: pytest.CaptureFixture[str]) -> None:
    """A result that is waited for in vain says why; the job runs when the worker joins."""
    with EmbeddedCluster(workers=1, slots=1) as embedded, octapi.Cluster(embedded.address) as cluster:
        job = cluster.options(worker="late").submit(abs, -6)
        assert cluster.submit(abs, -1).result(60) == 1
        with pytest.raises(StillWaiting, match="wait for worker 'late', which is not there; there are: worker-1"):
            job.result(0.5)
        with pytest.raises(TimeoutError, match="'late'"):
            job.exception(0.1)
        said = ""

        def is_said() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return "abs wait for worker 'late', which is not there; there are: worker-1." in said

        until(is_said)
        results = cluster.options(worker="late").map(abs, range(-3, 0))
        embedded.add_worker("late")
        assert job.result(60) == 6
        assert job.worker == "late"
        assert list(results) == [3, 2, 1]


def test_a_file_that_cannot_be_written_here_fails_its_job_by_name(tmp_path: Path) -> None:
    """With the path; the others of its batch, the files of others and later jobs are as they should be."""
    (tmp_path / "taken").mkdir()

    def make(name: str) -> str:
        Path(name).write_text(name, encoding="utf-8")
        octapi.send_file(name)
        return name

    with octapi.Cluster("local", slots=1) as cluster:
        calls = cluster.options(files_to=tmp_path)
        jobs = {name: calls.submit(make, name) for name in ("a", "taken", "b")}
        with pytest.raises(FileNotWritten, match="The file taken that it sent home cannot be written here"):
            jobs["taken"].result(60)
        assert [jobs[name].result(60) for name in "ab"] == ["a", "b"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "taken"]
        with pytest.raises(FileNotWritten):
            list(calls.map(make, ["c", "taken"]))
