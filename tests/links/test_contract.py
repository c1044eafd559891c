"""Every link keeps the contract of octapi.client.link: what it says of batches and computations, and in which order."""

import pickle
from pathlib import Path

import psutil
import pytest

from octapi.protocol import orders, outcome
from tests.harness import until
from tests.links.bench import Bench

DOUBLE = "def f(number):\n    return 2 * number\n"
WAITS = """
def f(place, name):
    import os, pathlib, time
    root = pathlib.Path(place)
    (root / f"{name}.tmp").write_text(str(os.getpid()))
    (root / f"{name}.tmp").rename(root / name)
    while not (root / "go").exists():
        time.sleep(0.01)
    return name
"""


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; init may let it wait for its burial."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def running(root: Path, name: str) -> bool:
    """Say whether a job of WAITS has begun."""
    return (root / name).exists()


def test_the_workers_are_known_once_a_link_has_started(bench: Bench) -> None:
    assert bench.heard.events[0][0] == "workers"
    assert sum(worker.slots for worker in bench.heard.workers.values()) >= 1
    assert all(name == worker.name and worker.python for name, worker in bench.heard.workers.items())


def test_each_job_of_a_batch_has_one_outcome_and_the_end_comes_last_and_once(bench: Bench) -> None:
    ident = bench.run(bench.define(DOUBLE), *[(number,) for number in range(50)])
    end = bench.until_said(ident, "end")

    said = bench.of(ident)
    assert [record[0] for record in bench.records(ident)] == list(range(50))
    assert bench.values(ident)[49] == 98
    assert end[2] == "done"
    assert [message[0] for message in said].count("end") == 1
    assert said[-1] == end
    assert said[0][0] == "begun"


def test_batches_keep_their_numbers_apart(bench: Bench) -> None:
    digest = bench.define(DOUBLE)
    idents = [bench.run(digest, (number,)) for number in range(20)]
    for ident in idents:
        bench.until_said(ident, "end")

    assert [bench.values(ident) for ident in idents] == [{0: 2 * number} for number in range(20)]


def test_a_job_that_raises_has_an_error_and_the_others_their_values(bench: Bench) -> None:
    ident = bench.run(bench.define("def f(n):\n    return 1 // n\n"), (1,), (0,), (1,))
    bench.until_said(ident, "end")

    kinds = {index: kind for index, kind, *_ in bench.records(ident)}
    assert (kinds[0], kinds[2]) == (outcome.VALUE, outcome.VALUE)
    assert kinds[1] == outcome.ERROR


def test_a_job_that_ends_its_process_is_named_and_those_before_it_keep_their_results(bench: Bench) -> None:
    text = "import os\ndef f(n):\n    if n == 2:\n        os._exit(7)\n    return n\n"
    ident = bench.run(bench.define(text), (0,), (1,), (2,), (3,))
    _, _, reason, stop, info = bench.until_said(ident, "end")

    assert (reason, stop) == ("died", 2)
    assert info["why"] != "cancelled"
    assert bench.values(ident) == {0: 0, 1: 1}


def test_jobs_to_skip_are_not_run(bench: Bench) -> None:
    ident = bench.run(bench.define(DOUBLE), (1,), (2,), (3,), skip=2)
    bench.until_said(ident, "end")

    assert bench.values(ident) == {2: 6}


def test_a_cancelled_job_is_stopped_and_the_rest_comes_back(bench: Bench, tmp_path: Path) -> None:
    ident = bench.run(bench.define(WAITS), (str(tmp_path), "one"), (str(tmp_path), "two"))
    bench.until(lambda: running(tmp_path, "one"))
    bench.tell(orders.Cancel(ident, 0, 0.0))
    end = bench.until_said(ident, "end")

    pid = int((tmp_path / "one").read_text())
    bench.until(lambda: is_gone(pid))
    assert end[2] == "died"
    assert end[4]["why"] == "cancelled"
    assert not running(tmp_path, "two")


def test_a_stopped_batch_ends(bench: Bench, tmp_path: Path) -> None:
    ident = bench.run(bench.define(WAITS), (str(tmp_path), "one"))
    bench.until(lambda: running(tmp_path, "one"))
    bench.tell(orders.Stop(ident, 0.0))

    assert bench.until_said(ident, "end")[2] == "died"
    assert bench.records(ident) == []


def test_a_batch_that_waits_comes_back_when_it_is_recalled(bench: Bench, tmp_path: Path) -> None:
    digest = bench.define(WAITS)
    slots = sum(worker.slots for worker in bench.heard.workers.values())
    idents = [bench.run(digest, (str(tmp_path), f"job-{number}")) for number in range(4 * slots)]
    bench.until(lambda: sum(bool(bench.of(ident, "begun")) for ident in idents) == slots)
    last = idents[-1]
    bench.tell(orders.Recall(last))
    end = bench.until_said(last, "end")
    (tmp_path / "go").touch()
    for ident in idents:
        bench.until_said(ident, "end")

    assert end[2:4] == ("returned", 0)
    assert not running(tmp_path, f"job-{len(idents) - 1}")
    # the rest of a batch that waits comes back too if one before it overstays; nothing has run twice
    assert all(len(bench.records(ident)) <= 1 for ident in idents)


def test_the_limit_of_a_computation_is_kept(bench: Bench, tmp_path: Path) -> None:
    text = """
import os, time
def f(place):
    try:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "two at once"
    time.sleep(0.02)
    os.unlink(place)
    return "alone"
"""
    name = next(iter(bench.heard.workers))
    digest = bench.define(text, limits={name: 1})
    idents = [bench.run(digest, (str(tmp_path / "here"),)) for _ in range(10)]
    for ident in idents:
        bench.until_said(ident, "end")

    assert [bench.values(ident) for ident in idents] == [{0: "alone"}] * 10


def test_setup_runs_before_the_first_job_and_cleanup_after_the_last(bench: Bench, tmp_path: Path) -> None:
    text = """
import pathlib
def prepare(place):
    global found
    found = place
    return 0
def leave(*_):
    (pathlib.Path(found) / "left").touch()
def f():
    return found
"""
    arguments = pickle.dumps((str(tmp_path),))
    digest = bench.define(text, setup="prepare", cleanup="leave", setup_args=arguments)
    ident = bench.run(digest, ())
    bench.until_said(ident, "end")
    assert bench.values(ident) == {0: str(tmp_path)}
    assert bench.of(digest)[0][0] == "ready"
    assert not (tmp_path / "left").exists()

    bench.forget(digest)
    assert (tmp_path / "left").exists()


def test_a_computation_whose_setup_fails_is_refused_with_the_reason(bench: Bench) -> None:
    text = "def prepare():\n    raise RuntimeError('no camera here')\ndef f():\n    return 1\n"
    digest = bench.define(text, setup="prepare", limits=dict.fromkeys(bench.heard.workers, 1))

    assert "no camera here" in bench.until_said(digest, "refused")[2]


def test_provisional_results_and_files_come_before_the_end(bench: Bench) -> None:
    text = """
def f():
    import pathlib
    pathlib.Path("answer.txt").write_text("42")
    dispy_provisional_result("half")
    dispy_send_file("answer.txt")
    return "whole"
"""
    ident = bench.run(bench.define(text), ())
    bench.until_said(ident, "end")

    kinds = [message[0] for message in bench.of(ident)]
    assert kinds.index("provisional") < kinds.index("file") < kinds.index("results") < kinds.index("end")
    assert bench.of(ident, "file")[0][3:5] == ("answer.txt", b"42")


def test_a_file_that_is_sent_reaches_the_jobs_that_come_after_it(bench: Bench) -> None:
    digest = bench.define("def f():\n    return open('words').read()\n", forked=True)
    for word in ("first", "second"):
        bench.tell(orders.PutFile(digest, ["words", word.encode(), 0o644, 0.0]))
        ident = bench.run(digest, ())
        bench.until_said(ident, "end")
        if word == "first":  # what has not reached a pool before the computation has, is the client's to send again
            continue
        assert bench.values(ident) == {0: "second"}


def test_large_arguments_and_results_travel_whole(bench: Bench) -> None:
    data = bytes(range(256)) * (100 << 10)
    ident = bench.run(bench.define("def f(data):\n    return data[::-1]\n"), (data,))
    bench.until_said(ident, "end")

    assert bench.values(ident)[0] == data[::-1]


def test_how_far_a_script_is_reaches_those_who_listen(bench: Bench) -> None:
    told: list[dict[str, object]] = []
    bench.link.on_report = told.append
    summary = {"waiting": 3, "running": 1, "done": 2, "failed": 0, "functions": ["f"], "slots": 2, "story": None}
    bench.do(lambda: bench.link.report(summary))

    assert told == [summary]
    assert len(bench.link.travel) == 2


def test_the_end_of_a_link_stops_its_jobs_and_says_no_more(bench: Bench, tmp_path: Path) -> None:
    bench.run(bench.define(WAITS), (str(tmp_path), "one"))
    bench.until(lambda: running(tmp_path, "one"))
    pid = int((tmp_path / "one").read_text())
    before = len(bench.heard.events)
    bench.close()

    until(lambda: is_gone(pid))
    assert bench.heard.events[before:] == []
    assert bench.heard.lost is None


@pytest.mark.parametrize("kind", ["cancel", "stop", "recall", "forget"])
def test_orders_about_what_is_over_change_nothing(bench: Bench, kind: str) -> None:
    digest = bench.define(DOUBLE)
    ident = bench.run(digest, (1,))
    bench.until_said(ident, "end")
    late = {
        "cancel": orders.Cancel(ident, 0, 0.0),
        "stop": orders.Stop(ident, 0.0),
        "recall": orders.Recall(ident),
        "forget": orders.Forget("nothing-of-this-name"),
    }
    bench.tell(late[kind])
    after = bench.run(digest, (4,))
    bench.until_said(after, "end")

    assert bench.values(after) == {0: 8}
    assert len(bench.of(ident, "end")) == 1
