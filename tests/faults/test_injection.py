"""An error at any place of the dispatcher's thread fails what it concerns, with a name, and the rest goes on.

Each place of a list raises once, in the midst of some hundred jobs: every job ends, and the next ones run.
"""

import concurrent.futures
import functools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import octapi
from octapi.client.backlog import Backlog
from octapi.client.batch import ItemBatch, JobBatch
from octapi.client.batch_maker import BatchMaker
from octapi.client.batcher import Batcher
from octapi.client.core import Core
from octapi.client.failed_attempts import FailedAttempts
from octapi.client.item_range import ItemChunk, ItemRange
from octapi.client.local import LocalLink
from octapi.client.news_handlers import NewsHandlers
from octapi.client.queue import ComputationQueue
from octapi.client.remote import RemoteLink
from octapi.client.waiting import Reporter, StatusLine
from octapi.cluster import Files
from octapi.job import JobTicket
from octapi.results import Results
from octapi.telemetry.recorder import RunRecorder
from octapi.testing import EmbeddedCluster

SITES: list[tuple[type, str]] = [
    *(
        (Core, name)
        for name in (
            "workers_changed notify add_lane link_define send tell next_ident usable cancel summary sending_failed"
        ).split()
    ),
    *((NewsHandlers, name) for name in "on_begun on_results on_file on_end on_lost on_ready _over".split()),
    *((FailedAttempts, name) for name in "autopsy _others".split()),
    *((BatchMaker, name) for name in "make _of_range".split()),
    *((Backlog, name) for name in "take back lists".split()),
    *(
        (ComputationQueue, name)
        for name in "pump _send take send_batch back define introduce slots_of usable fits may_use fail".split()
    ),
    *(
        (batch, name)
        for batch in (JobBatch, ItemBatch)
        for name in "spec take begun payload settle ours give_back died count".split()
    ),
    *((Batcher, name) for name in "in_flight size measured budget_s".split()),
    *((RunRecorder, name) for name in "job batch unrun refused failure".split()),
    *((LocalLink, name) for name in "run define tell report".split()),
    *((ItemRange, name) for name in "packed piece open_pieces".split()),
    *((ItemChunk, name) for name in "put put_all".split()),
    *((JobTicket, name) for name in "begun resolve".split()),
    (Files, "file"),
    (Results, "arrived"),
    (Reporter, "report"),
    (StatusLine, "hear"),
]
#: places of a link to a master
REMOTE = [
    *((RemoteLink, name) for name in "_take _take_workers _acknowledge _pulse _send_surely run define tell".split()),
    (NewsHandlers, "on_results"),
    (NewsHandlers, "on_end"),
    (Core, "set_others"),
]


class Broken(BaseException):
    """What no code expects."""


def breaking(
    patch: pytest.MonkeyPatch, owner: type, name: str, error: type[BaseException], at: int
) -> Callable[[], int]:
    """Let a method raise the ``at``-th time that it is called; return what counts how often that was."""
    calls = 0
    plain = getattr(owner, name)

    @functools.wraps(plain)
    def method(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise error(f"put here by a test: {name}")
        return plain(*args, **kwargs)

    patch.setattr(owner, name, method)
    return lambda: calls


def work(number: int) -> int:
    """Do one of several things."""
    if number % 50 == 49:
        raise ValueError(f"number {number} is odd")
    if number == 31:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 20:
        Path(f"file-{number}").write_text("home", encoding="utf-8")
        octapi.send_file(f"file-{number}")
    return number


def outcome(get: Callable[[], Any]) -> str:
    """Return how a job ended: as it should, or with an error that has a name."""
    try:
        get()
    except TimeoutError:
        return "waits for ever"
    except (octapi.OctapiError, ValueError, concurrent.futures.CancelledError) as error:
        return type(error).__name__
    return "well"


def load(cluster: octapi.Cluster, place: Path) -> None:
    """Give a cluster some hundred jobs, and see that every one of them ends."""
    calls = cluster.options(files_to=place)
    jobs = [calls.submit(work, number) for number in range(120)]
    told: list[Any] = []
    jobs[5].add_done_callback(told.append)
    jobs[90].cancel()
    results = [cluster.map(abs, range(60), timeout=60), calls.map(work, range(40), ordered=False, timeout=60)]
    ends = [outcome(functools.partial(job.result, 60)) for job in jobs]
    assert "waits for ever" not in ends
    assert ends.count("well") >= 20, ends
    assert "waits for ever" not in [outcome(functools.partial(list, result)) for result in results]
    assert cluster.submit(abs, -7).result(60) == 7
    assert list(cluster.map(abs, [-8], timeout=60)) == [8]


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [(*site, (RuntimeError, Broken)[place % 2]) for place, site in enumerate(SITES)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_an_error_anywhere_on_this_computer_ends_no_wait(
    owner: type, name: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every other one is no Exception; with the second call, so that something is on its way."""
    with octapi.Cluster("local", slots=2) as cluster:
        cluster.submit(abs, -1).result(60)
        breaking(monkeypatch, owner, name, error, 2)
        load(cluster, tmp_path)


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(workers=2, slots=1) as found:
        yield found


@pytest.mark.parametrize(("owner", "name"), REMOTE, ids=lambda value: getattr(value, "__name__", value))
def test_an_error_on_the_way_to_a_master_ends_no_wait(
    owner: type, name: str, embedded: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The link reads on, and goes on giving signs of life."""
    with octapi.Cluster(embedded.address) as cluster:
        cluster.submit(abs, -1).result(60)
        breaking(monkeypatch, owner, name, RuntimeError, 2)
        load(cluster, tmp_path)
