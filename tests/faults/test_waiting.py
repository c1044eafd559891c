"""What a script is told that waits: the reason that is true, and what to do about it."""

from pathlib import Path

from octapi.client.queue import ComputationQueue
from octapi.client.waiting import reason
from octapi.protocol.outcome import WorkerInfo
from octapi.text.back_off import BackOff, cause_of
from tests.client.test_core import Told, world_of
from tests.harness import Yard


def worker(name: str, state: str = "ok") -> WorkerInfo:
    return WorkerInfo(name, "127.0.0.1", "h", 2, "test", "3", state=state)


def lane_on(*workers: WorkerInfo, pinned_to: str | None = None, count: int = 3) -> ComputationQueue:
    """Return a lane whose jobs have been given to the master, and wait there."""
    core, _, queue = world_of(1)
    core.workers_changed({worker.name: worker for worker in workers})
    for number in range(count):
        pending_job = Told(number, 1)
        pending_job.worker = pinned_to
        queue.submit(pending_job)
    return queue


def why(queue: ComputationQueue) -> str:
    return reason(queue, queue.dispatcher.infos) or ""


def test_workers_that_take_no_jobs_are_named_with_what_to_do() -> None:
    """Drained, silent, refused: none of them counts as slots that others have."""
    resume = "('octapi nodes resume red' lets it take jobs again)"
    assert why(lane_on(worker("red", "drained"))) == f"3 jobs of f wait: red is drained {resume}."
    assert why(lane_on(worker("red", "draining"))) == f"3 jobs of f wait: red is drained {resume}."
    text = why(lane_on(worker("red", "drained"), worker("blue", "silent"), count=1))
    assert text == f"1 job of f wait: red is drained {resume}; blue gives no sign of life."

    queue = lane_on(worker("red", "drained"), worker("blue"), worker("green", "drained"))
    assert "slots are being started" in why(queue)
    queue.dispatcher.set_others(1, {})
    assert "other scripts have all 2 slots" in why(queue)
    queue.dispatcher.set_others(1, {next(iter(queue.batches)): "blue"})
    assert "blue got them, and loads the function" in why(queue)
    queue.refused_on["blue"] = "no"
    assert "red, green are drained" in why(queue)
    assert why(queue).endswith("; blue cannot run them.")


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


def told_at(causes: dict[float, str], until_s: float, in_place: bool = False) -> list[float]:
    """Return when a wait is told whose cause changes at these times."""
    again, cause, moments = BackOff(), "", []
    for now in range(int(until_s) + 1):
        cause = causes.get(now, cause)
        if again.is_due(cause, float(now), in_place):
            moments.append(float(now))
    return moments


def test_a_wait_is_told_later_and_later_and_at_once_when_its_cause_changes() -> None:
    """A line that is updated in place adds nothing to read, so it stays fresh."""
    assert told_at({0: "no worker"}, 200) == [0, 5, 15, 35, 75, 135, 195]
    assert told_at({0: "no worker", 40: "drained"}, 60) == [0, 5, 15, 35, 40, 45, 55]
    assert told_at({0: "no worker"}, 20, in_place=True) == [0, 5, 10, 15, 20]
    assert told_at(dict.fromkeys(range(0, 9, 2), "a") | dict.fromkeys(range(1, 9, 2), "b"), 8) == [0, 2, 4, 6, 8]


def test_a_cause_is_the_same_however_many_jobs_wait() -> None:
    """Names with digits are told apart."""
    assert cause_of("1,000 jobs of f wait (3 of 10 MB).") == cause_of("999 jobs of f wait (9 of 10 MB).")
    assert cause_of("wait for worker-1.") != cause_of("wait for worker-2.")
    assert cause_of("no answer from pi1:8785") != cause_of("no answer from pi2:8785")
