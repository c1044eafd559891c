"""What the dispatcher's rules decide, compared with lists of instructions: no link, no thread, no clock."""

import pickle
from typing import Any

import pytest

from octapi.client.core import Core
from octapi.client.instructions import Claim, Define, Instruction, Notify, Send, Tell
from octapi.client.item_range import ItemChunk, ItemRange
from octapi.client.linked_core import LinkedCore
from octapi.client.listener import ComputationListener
from octapi.client.pending_job import PendingJob
from octapi.client.queue import ComputationQueue
from octapi.errors import Attempt
from octapi.protocol import orders, outcome, wire
from octapi.protocol.computation import FUNCTION, Computation, File
from octapi.protocol.news import Lost, Unreadable
from octapi.protocol.outcome import SILENT, WorkerInfo
from octapi.protocol.worker_messages import (
    Begun,
    Closed,
    Cut,
    Dropped,
    End,
    Provisional,
    Ready,
    Refused,
    Results,
    SentFile,
)

RED = WorkerInfo("red", "127.0.0.1", "h", 1, "test", "3")
BLUE = RED._replace(name="blue")
#: epoch seconds; nothing here knows another time
NOW = 1_000_000.0


class Job(PendingJob):
    """A job that keeps what it is told."""

    def __init__(self, **how: Any) -> None:
        super().__init__(pickle.dumps(((1,), {})), **how)
        self.told: list[Any] = []

    def begun(self, worker: WorkerInfo, started: float) -> None:
        self.told.append(("begun", worker.name, started))

    def provisional(self, data: bytes) -> None:
        if data == b"bad":
            raise ValueError("bad")
        self.told.append(("provisional", data))

    def resolve(self, kind: int, data: bytes, started: float, ended: float, *_: Any) -> None:
        self.told.append((kind, started, ended))


def taken(core: Core) -> list[Instruction]:
    """Return what was decided since this was asked last."""
    found = list(core.instructions)
    core.instructions.clear()
    return found


def core_of(*workers: WorkerInfo, **listening: Any) -> tuple[Core, ComputationQueue]:
    """Return a core with one queue, that has told of it."""
    core = Core()
    core.workers_changed({worker.name: worker for worker in workers})
    listener = type("Listener", (ComputationListener,), listening)()
    queue = ComputationQueue(core, Computation(FUNCTION, "f"), None, listener)
    core.add_lane(queue)
    taken(core)
    return core, queue


def sent(core: Core, queue: ComputationQueue, count: int = 1, **how: Any) -> tuple[list[Job], list[Instruction]]:
    """Submit jobs; return them, and what was decided."""
    jobs = [Job(**how) for _ in range(count)]
    for job in jobs:
        queue.submit(job)
    return jobs, taken(core)


def idents(instructions: list[Instruction]) -> list[int]:
    """Return the numbers of the batches that are to be sent, of instructions that are nothing else."""
    found = [it.ident for it in instructions if isinstance(it, Send)]
    assert len(found) == len(instructions), instructions
    return found


def results(index: int = 0) -> bytes:
    data = pickle.dumps(1)
    return wire.RECORD.pack(index, outcome.VALUE, len(data), NOW, 0.25) + data


def test_a_computation_is_told_of_before_its_first_job_is_sent() -> None:
    """Once, with what its batches need; the batch has its payload, its budget and no time limit."""
    core = Core()
    core.workers_changed({"red": RED})
    queue = ComputationQueue(core, Computation(FUNCTION, "f"), {"red": 1}, ComputationListener())
    job = Job()
    queue.submit(job)
    notify, define, send = taken(core)

    assert notify == Notify("joined", RED)
    facts: Any = {"limits": {"red": 1}, "workers": {}, "python": "", "name": "f"}
    assert define == Define(queue.digest, queue.spec, facts)
    assert isinstance(send, Send)
    assert send[:3] == (1, queue.number, queue.digest)
    assert (send.spec["form"], wire.buffer_of(send.spec["data"])) == wire.of_jobs([job.payload])
    assert (send.spec["jobs"], send.spec["budget_s"], send.spec["timeout_s"]) == (1, 0.1, None)


def test_no_more_is_sent_than_there_are_slots_until_a_result_tells_how_long_jobs_take() -> None:
    """The second job goes when the first batch has ended."""
    core, queue = core_of(RED)
    (first, second), instructions = sent(core, queue, 2)
    assert idents(instructions) == [1]

    core.hear("red", Begun(1, 0), NOW)
    core.hear("red", Results(1, results()), NOW)
    assert taken(core) == []
    assert first.told == [("begun", "red", NOW), (outcome.VALUE, NOW, NOW + 0.25)]
    core.hear("red", End(1, "done", 1, {}), NOW)
    assert idents(taken(core)) == [2]
    assert second.told == []


def test_the_time_of_news_is_what_jobs_are_told() -> None:
    """Begun, and killed for its time limit after so many seconds."""
    core, queue = core_of(RED)
    (job,), _ = sent(core, queue)
    core.hear("red", Begun(1, 0), NOW)
    core.hear("red", End(1, "died", 0, {"why": "timeout", "ran_s": 5.0, "signal": 9}), NOW + 5)

    assert job.told == [("begun", "red", NOW), (outcome.FAULT, NOW, NOW + 5)]
    assert taken(core) == []


def test_a_job_that_was_killed_starts_again_where_it_has_not_been() -> None:
    """By itself, as another batch; its attempt has the time at which that was heard."""
    core, queue = core_of(RED, BLUE)
    (job,), _ = sent(core, queue, retries=1)
    core.hear("red", Begun(1, 0), NOW)
    core.hear("red", End(1, "died", 0, {"signal": 9, "why": ""}), NOW + 1)
    (send,) = taken(core)

    assert isinstance(send, Send)
    assert (send.ident, send.spec["avoid"]) == (2, ["red"])
    assert job.past == (Attempt("red", "was killed by SIGKILL (9) (by hand, or for want of memory)", NOW + 1),)


def test_a_job_that_was_killed_fails_where_no_other_worker_is() -> None:
    """Nothing is sent, and what comes later of that batch means nothing."""
    core, queue = core_of(RED)
    (job,), _ = sent(core, queue, retries=1)
    core.hear("red", Begun(1, 0), NOW)
    core.hear("red", End(1, "died", 0, {"signal": 9, "why": "", "ran_s": 2.0}), NOW + 2)
    core.hear("red", Results(1, results()), NOW + 3)

    assert job.told[1:] == [(outcome.FAULT, NOW, NOW + 2)]
    assert taken(core) == []


@pytest.mark.parametrize(("retries", "again"), [(1, [2]), (0, [])])
def test_a_lost_batch_is_sent_again_if_its_retries_allow_it(retries: int, again: list[int]) -> None:
    """Else it fails at that time."""
    core, queue = core_of(RED, BLUE)
    (job,), _ = sent(core, queue, retries=retries)
    core.hear("red", Lost(1, 1), NOW)

    assert idents(taken(core)) == again
    assert job.told == ([] if again else [(outcome.FAULT, 0.0, NOW)])
    assert [attempt.ended for attempt in job.past] == [NOW]


def test_the_rest_of_a_batch_that_was_cut_is_sent_at_once_and_its_first_part_stays() -> None:
    """Three jobs travel together; two come back."""
    core, queue = core_of(RED)
    queue.batcher.measured(100, 0.01)
    queue.is_idle = False
    jobs, _ = sent(core, queue, 3)
    queue.pump()
    assert [it.spec["jobs"] for it in taken(core) if isinstance(it, Send)] == [3]
    core.hear("red", Begun(1, 0), NOW)
    core.hear("red", Cut(1, 1), NOW)
    (send,) = taken(core)

    assert isinstance(send, Send)
    assert (send.ident, send.spec["jobs"]) == (2, 2)
    assert core.batches[1].ours() == [jobs[0]]


def test_a_range_is_split_to_the_size_of_a_batch() -> None:
    """The first item of a map goes alone, for nothing is known of it; its range is described as items."""
    core, queue = core_of(RED)

    class Reader:
        def arrived(self, page: ItemChunk, start: int, stop: int, freed: int) -> None:
            """Nothing to do."""

    page = ItemChunk([(number,) for number in range(10)], Reader())  # type: ignore[arg-type]
    queue.add(ItemRange(page, 0, 10, None, 0))
    (send,) = taken(core)

    assert isinstance(send, Send)
    assert (send.spec["form"], send.spec["jobs"], send.spec["ids"]) == (wire.ITEMS, 1, [page.number, 0])
    assert pickle.loads(send.spec["data"]) == [(0,)]
    assert [len(entry) for entry in queue.unpinned if isinstance(entry, ItemRange)] == [9]


def test_a_job_that_waits_is_taken_back_and_one_that_runs_is_told_to_stop() -> None:
    """To the worker that has it; to whoever has it while nobody knows which."""
    core, queue = core_of(RED)
    (first, second), _ = sent(core, queue, 2)
    core.cancel(queue, second, 1.0)
    assert taken(core) == []
    assert second.told == [(outcome.CANCELLED, 0.0, 0.0)]
    core.cancel(queue, first, 1.0)
    core.hear("red", Begun(1, 0), NOW)
    core.cancel(queue, first, 0.5)

    stops = [Tell(None, orders.Cancel(1, 0, 1.0)), Tell("red", orders.Cancel(1, 0, 0.5))]
    assert taken(core) == stops
    core.hear("red", End(1, "returned", 0, {}), NOW)
    assert first.told[-1] == (outcome.CANCELLED, 0.0, 0.0)
    assert taken(core) == []


def test_to_stop_all_jobs_is_one_order_for_each_batch() -> None:
    """What waits is never sent."""
    core, queue = core_of(RED, BLUE)
    jobs, _ = sent(core, queue, 3)
    core.stop_jobs()

    assert taken(core) == [Tell(None, orders.Stop(1, 1.0)), Tell(None, orders.Stop(2, 1.0))]
    assert jobs[2].told == [(outcome.CANCELLED, 0.0, 0.0)]


@pytest.mark.parametrize(
    "news", [Provisional(1, 0, b"bad"), SentFile(1, 0, "a/b", b"x", 0o644, 0.0)], ids=lambda news: type(news).__name__
)
def test_a_job_whose_news_cannot_be_used_here_fails_and_is_stopped(news: Any) -> None:
    """A provisional result that its class refuses, and a file that cannot be written."""

    def file(_: object, file: File, job: object) -> None:
        raise OSError("the disk is full")

    core, queue = core_of(RED, file=file)
    (job,), _ = sent(core, queue)
    core.hear("red", Begun(1, 0), NOW)
    core.hear("red", news, NOW + 1)

    assert taken(core) == [Tell("red", orders.Cancel(1, 0, 0.5))]
    assert job.told[-1] == (outcome.FAULT, NOW + 1, NOW + 1)


def test_what_no_worker_can_load_fails_and_what_one_can_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that has it ready again is asked again."""
    heard: list[str] = []
    listening = {
        "ready": lambda _, worker: heard.append(f"ready on {worker.name}"),
        "refused": lambda _, worker, text: heard.append(f"{text} on {worker.name}"),
        "closed": lambda _, worker: heard.append(f"closed on {worker.name}"),
    }
    core, queue = core_of(RED, **listening)
    core.hear("red", Refused(queue.digest, "no"), NOW)
    (job,), instructions = sent(core, queue)
    assert instructions == []
    assert job.told == [(outcome.FAULT, 0.0, 0.0)]

    core.hear("red", Ready(queue.digest), NOW)
    _, instructions = sent(core, queue)
    assert len(idents(instructions)) == 1
    core.hear("red", Closed(queue.digest), NOW)
    assert heard == ["no on red", "ready on red", "closed on red"]


def test_a_batch_of_which_nonsense_is_said_fails_and_is_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    """The next job of the same queue is sent; the error is said."""
    core, queue = core_of(RED)
    (job, _), _ = sent(core, queue, 2)
    core.hear("red", Begun(1, 0), NOW)
    core.hear("red", Unreadable(1, "results", TypeError("a field is missing")), NOW)
    stop, send = taken(core)

    assert stop == Tell("red", orders.Stop(1, 0.0))
    assert isinstance(send, Send)
    assert send.ident == 2
    assert job.told[-1][0] == outcome.FAULT
    assert "a field is missing" in capsys.readouterr().err


def test_news_of_batches_that_are_no_more_decide_nothing() -> None:
    """Of any kind, and dropped ones."""
    core, _ = core_of(RED)
    for news in (Begun(9, 0), Results(9, b""), Cut(9, 0), End(9, "done", 1, {}), Lost(9), Dropped(9, "dropped", 0, {})):
        core.hear("red", news, NOW)
    assert taken(core) == []


def test_another_process_of_the_master_hears_everything_in_order() -> None:
    """Computations, what is on its way with how much of it was heard, and then what is to stop."""
    core, queue = core_of(RED, BLUE)
    jobs, _ = sent(core, queue, 2)
    core.hear("red", Begun(1, 0), NOW)
    core.hear("red", Provisional(1, 0, b"half"), NOW)
    core.cancel(queue, jobs[0], 1.0)
    taken(core)
    core.master_renewed()
    define, claim, cancel = taken(core)

    assert isinstance(define, Define)
    spec = {"jobs": 1, "worker": None}
    assert claim == Claim([(1, queue.digest, spec, 1, "red"), (2, queue.digest, spec, 0, None)])
    assert cancel == Tell("red", orders.Cancel(1, 0, 1.0))


def test_workers_that_come_change_and_go_are_told_and_jobs_for_them_wait() -> None:
    """A job for a worker that is not there is sent when it joins."""
    core, queue = core_of(RED)
    _, instructions = sent(core, queue, worker="blue")
    assert instructions == []
    core.workers_changed({"red": RED._replace(state=SILENT), "blue": BLUE})
    silent, joined, send = taken(core)
    assert [silent, joined] == [Notify("health", RED._replace(state=SILENT)), Notify("joined", BLUE)]
    assert isinstance(send, Send)
    assert send.spec["worker"] == "blue"
    core.workers_changed({"blue": BLUE})
    assert taken(core) == [Notify("left", RED._replace(state=SILENT))]
    assert core.went == {"red": SILENT}


# ---- carrying out


class Way:
    """A link that fails at what it is told to."""

    travel = (0, 0)

    def __init__(self, *failing: str) -> None:
        self.failing = set(failing)
        self.carried: list[str] = []

    def _do(self, what: str) -> None:
        if what in self.failing:
            raise OSError(f"no {what} now")
        self.carried.append(what)

    def define(self, *_: Any) -> None:
        self._do("define")

    def run(self, ident: int, *_: Any) -> None:
        self._do(f"run {ident}")

    def tell(self, worker: str | None, order: Any) -> None:
        self._do(f"tell {type(order).__name__}")


def linked(way: Way) -> tuple[LinkedCore, ComputationQueue]:
    core = LinkedCore()
    core.link = way  # type: ignore[assignment]
    core.workers_changed({"red": RED})
    queue = ComputationQueue(core, Computation(FUNCTION, "f"), None, ComputationListener())
    core.call(core.add_lane, queue)
    return core, queue


def test_a_batch_that_cannot_be_sent_fails_and_the_next_goes(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing waits for ever, and the error is said once."""
    way = Way("run 1")
    core, queue = linked(way)
    first, second = Job(), Job()
    queue.submit(first)
    queue.submit(second)

    assert [kind for kind, *_ in first.told] == [outcome.FAULT]
    assert way.carried == ["define", "run 2"]
    assert list(core.batches) == list(queue.batches) == [2]
    assert "no run 1 now" in capsys.readouterr().err


def test_what_is_reported_while_something_is_carried_out_is_carried_out_after_it() -> None:
    """An agent in the same process answers before its caller has returned."""

    class Prompt(Way):
        def run(self, ident: int, *_: Any) -> None:
            core.message("red", Begun(ident, 0))
            if ident > 1:
                core.message("red", Results(ident, results()))
            core.message("red", End(ident, "done" if ident > 1 else "returned", int(ident > 1), {}))
            self._do(f"run {ident}")

    way = Prompt()
    core, queue = linked(way)
    queue.submit(Job())
    assert way.carried == ["define", "run 1", "run 2"]
    assert not core.batches


def test_an_order_that_cannot_be_sent_is_said_and_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """No outcome depends on it."""
    way = Way("tell Stop")
    core, queue = linked(way)
    job = Job()
    queue.submit(job)
    core.stop_jobs()
    assert not job.done
    assert "no tell Stop now" in capsys.readouterr().err


def test_watchers_hear_of_workers_and_one_that_raises_silences_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order in which they were added."""
    core, heard = LinkedCore(), []

    def broken(event: str, worker: WorkerInfo) -> None:
        raise ValueError("a watcher's own")

    core.watchers += [broken, lambda event, worker: heard.append((event, worker.name))]
    core.workers_changed({"red": RED})
    core.workers_changed({})
    assert heard == [("joined", "red"), ("left", "red")]
    assert "a watcher's own" in capsys.readouterr().err


class Unwilling:
    """A link that cannot make computations known."""

    travel = (0, 0)

    def __init__(self) -> None:
        self.sent: list[int] = []

    def define(self, *_: Any) -> None:
        raise ValueError("it is too long")

    def run(self, ident: int, *_: Any) -> None:
        self.sent.append(ident)

    def tell(self, *_: Any) -> None:
        """Take what is told."""


@pytest.mark.parametrize("count", [1, 3, 50])
def test_jobs_fail_once_and_nothing_is_sent_when_their_computation_cannot_be_made_known(
    count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    core, link = LinkedCore(), Unwilling()
    core.link = link  # type: ignore[assignment]
    core.workers_changed({"red": RED})
    queue = ComputationQueue(core, Computation(FUNCTION, "f"), None, ComputationListener())
    jobs = [Job() for _ in range(count)]
    for job in jobs:
        queue.submit(job)

    assert [[told[0] for told in job.told] for job in jobs] == [[outcome.FAULT]] * count
    assert link.sent == []
    assert core.batches == {}
    assert "could not be made known" in capsys.readouterr().err
