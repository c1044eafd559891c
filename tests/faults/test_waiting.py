"""What a script is told that waits: the reason that is true, and what to do about it."""

from pathlib import Path

from octapi.dispatch.lane import Lane
from octapi.dispatch.outcome import WorkerInfo
from octapi.dispatch.waiting import reason
from tests.test_core import Told, world_of
from tests.yard import Yard


def worker(name: str, state: str = "ok") -> WorkerInfo:
    return WorkerInfo(name, "127.0.0.1", "h", 2, "test", "3", state=state)


def lane_on(*workers: WorkerInfo, pinned_to: str | None = None, count: int = 3) -> Lane:
    """Return a lane whose jobs have been given to the master, and wait there."""
    core, _, lane = world_of(1)
    core.workers_changed({worker.name: worker for worker in workers})
    for number in range(count):
        ticket = Told(number, 1)
        ticket.worker = pinned_to
        lane.submit(ticket)
    return lane


def why(lane: Lane) -> str:
    return reason(lane, lane.dispatcher.infos) or ""


def test_workers_that_take_no_jobs_are_named_with_what_to_do() -> None:
    """Drained, silent, refused: none of them counts as slots that others have."""
    resume = "('octapi nodes resume red' lets it take jobs again)"
    assert why(lane_on(worker("red", "drained"))) == f"3 jobs of f wait: red is drained {resume}."
    assert why(lane_on(worker("red", "draining"))) == f"3 jobs of f wait: red is drained {resume}."
    text = why(lane_on(worker("red", "drained"), worker("blue", "silent"), count=1))
    assert text == f"1 job of f wait: red is drained {resume}; blue gives no sign of life."

    lane = lane_on(worker("red", "drained"), worker("blue"), worker("green", "drained"))
    assert "slots are being started" in why(lane)
    lane.dispatcher.set_others(1, {})
    assert "other scripts have all 2 slots" in why(lane)
    lane.dispatcher.set_others(1, {next(iter(lane.flights)): "blue"})
    assert "blue got them, and loads the function" in why(lane)
    lane.refused_on["blue"] = "no"
    assert "red, green are drained" in why(lane)
    assert why(lane).endswith("; blue cannot run them.")


def test_jobs_of_a_worker_that_is_not_there_are_told() -> None:
    """Also when it is there and drained; other jobs' waiting is another matter."""
    text = "3 jobs of f wait for worker 'gray', which is not there; there are: red."
    assert why(lane_on(worker("red"), pinned_to="gray")) == text
    drained = lane_on(worker("red", "drained"), worker("blue"), pinned_to="red")
    assert "'red', which cannot take them: red is drained" in why(drained)
    assert "wait for a free slot of red" in why(lane_on(worker("red"), worker("blue"), pinned_to="red"))


def test_a_script_hears_that_all_workers_are_drained_and_ends_when_one_is_resumed(yard: Yard, tmp_path: Path) -> None:
    """On a real cluster, with the command that it names."""
    yard.master()
    yard.worker("red", yard.token())
    yard.command("master", "nodes", "drain", "red", "--wait")
    script = yard.script("master", "import octapi\nwith octapi.Cluster() as c:\n    print(c.submit(abs, -5).result())")
    script.until_says("1 job of abs wait: red is drained ('octapi nodes resume red'")
    yard.command("master", "nodes", "resume", "red")
    assert script.wait() == 0
    assert script.text().endswith("5\n")
