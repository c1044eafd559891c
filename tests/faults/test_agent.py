"""An agent with its real slots, and what it says; the test is the master."""

import asyncio
import pickle
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from octapi.pool import recorder
from octapi.protocol import wire
from octapi.protocol.computation import SOURCE, Computation
from octapi.protocol.messages import plain
from octapi.worker.resumable_agent import ResumableAgent
from tests.harness import until

WAITS = """
def f(path, text):
    import pathlib, time
    with open(path + text, "a") as file:
        file.write("x")
    while not pathlib.Path(path).exists():
        time.sleep(0.01)
"""


class Bench:
    """A station whose agent lives in a loop that the test moves."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.said: list[Any] = []
        self.resumable = ResumableAgent(2, "red")
        self.resumable.connect(lambda message: self.said.append(plain(message)))
        self.agent = self.do(lambda: self.resumable.open("127.0.0.1"))

    def do(self, function: Callable[[], Any]) -> Any:
        """Call a function in the loop."""

        async def run() -> Any:
            return function()

        return self.loop.run_until_complete(run())

    def define(self, text: str, **options: Any) -> None:
        """Define the computation ``d``."""
        facts = {"files": options.pop("own", ())}
        spec = Computation(SOURCE, "f", text.encode(), "f", **options).to_bytes()
        self.do(lambda: self.agent.on_define("d", spec, facts))

    def run(self, ident: int, *arguments: tuple[str, ...]) -> None:
        """Give it a batch with one job for each of the arguments."""
        data = msgpack.packb([pickle.dumps((args, {})) for args in arguments])
        facts = {"form": wire.JOBS, "data": data, "jobs": len(arguments)}
        self.do(lambda: self.agent.on_run(("s", ident), "s", "d", facts))

    def until(self, condition: Callable[[], Any]) -> Any:
        """Move the loop until a condition holds."""

        async def run() -> Any:
            async with asyncio.timeout(60):
                while not (found := condition()):  # noqa: ASYNC110 (what it waits for are processes)
                    await asyncio.sleep(0.01)
                return found

        return self.loop.run_until_complete(run())

    def has_said(self, *start: Any) -> list[Any]:
        """Return what it has said that begins so."""
        return [message for message in self.said if message[: len(start)] == start]


@pytest.fixture
def bench() -> Iterator[Bench]:
    loop = asyncio.new_event_loop()
    found = Bench(loop)
    yield found
    found.do(found.resumable.close)
    loop.close()


NO_FORKS = """
import os
fork = os.fork
def fail():
    if os.path.exists({path!r}):
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()
os.fork = fail
"""


@pytest.fixture
def no_forks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a path; while it exists, the kernel has no processes to give to those that are started from now on."""
    path = tmp_path / "no-forks"
    (tmp_path / "sitecustomize.py").write_text(NO_FORKS.format(path=str(path)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return path


def test_a_batch_waits_while_no_process_can_be_forked(
    no_forks: Path, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worker says so, and its job ends once there are processes again."""
    path = tmp_path / "go"
    path.touch()
    bench.define(WAITS, forked=True)
    bench.until(lambda: bench.has_said("ready", "d"))
    no_forks.touch()
    bench.run(1, (str(path), ".a"))
    bench.until(lambda: "no slot can be started" in capsys.readouterr().err)
    assert not bench.has_said("end")

    no_forks.unlink()
    bench.until(lambda: bench.has_said("end", ("s", 1), "done"))


def test_a_computation_that_comes_again_while_it_leaves_begins_anew_after_its_cleanup(
    bench: Bench, tmp_path: Path
) -> None:
    """Its last job ends, it is closed, and only then ready again; the counts are right afterwards."""
    path = tmp_path / "go"
    bench.define(WAITS)
    bench.run(1, (str(path), ".a"))
    bench.until(Path(f"{path}.a").exists)
    bench.do(lambda: bench.agent.on_forget("d"))
    bench.define(WAITS)
    bench.run(2, (str(path), ".b"))
    assert not Path(f"{path}.b").exists()
    path.touch()
    bench.until(lambda: bench.has_said("end", ("s", 2), "done"))

    told = [message[0] for message in bench.said if message[0] in ("ready", "closed", "end")]
    assert told == ["ready", "end", "closed", "ready", "end"]
    assert bench.agent.computations.known["d"].running == 0
    bench.do(lambda: bench.agent.on_forget("d"))
    bench.until(lambda: len(bench.has_said("closed", "d")) == 2)


def test_a_computation_whose_files_turn_bad_while_it_runs_begins_anew(bench: Bench, tmp_path: Path) -> None:
    """It is refused by name, what runs goes on, and what comes again is cleaned up when it goes."""
    path = tmp_path / "go"
    bench.define(WAITS)
    bench.run(1, (str(path), ".a"))
    bench.until(Path(f"{path}.a").exists)
    bench.do(lambda: bench.agent.on_file("d", ["../outside", b"x", 0o600, 0.0]))
    assert "../outside" in bench.has_said("refused", "d")[0][2]

    bench.define(WAITS)
    path.touch()
    bench.until(lambda: bench.has_said("end", ("s", 1), "done") and len(bench.has_said("ready", "d")) == 2)
    assert bench.agent.computations.known["d"].running == 0
    bench.do(lambda: bench.agent.on_forget("d"))
    bench.until(lambda: bench.has_said("closed", "d"))


def test_a_directory_outside_is_refused_and_forgotten(bench: Bench) -> None:
    """A bad name breaks neither what defines it nor what forgets it."""
    bench.define(WAITS, dest="../up", own=[["data", b"x", 0o600, 0.0]])
    assert "../up" in bench.has_said("refused", "d")[0][2]
    bench.do(lambda: bench.agent.on_forget("d"))
    assert bench.has_said("closed", "d")


def ends_with_end(sock: socket.socket) -> bool:
    """Say whether the last frame that waits in a socket is the end of a batch."""
    try:
        data = sock.recv(1 << 20, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    kinds = []
    while len(data) >= recorder.HEAD.size:
        size, kind = recorder.HEAD.unpack_from(data)
        kinds.append(kind)
        data = data[recorder.HEAD.size + size :]
    return bool(kinds) and kinds[-1] == recorder.SENDS_END[0]


def test_a_batch_that_is_dropped_when_its_end_is_on_its_way_is_over(bench: Bench, tmp_path: Path) -> None:
    """Its slot goes, and nothing of it stays in the log."""
    path = tmp_path / "go"
    bench.define(WAITS, forked=True)
    bench.run(1, (str(path), ".a"))
    batch = bench.agent.batches["s", 1]
    bench.until(Path(f"{path}.a").exists)
    child: Any = batch.child
    path.touch()
    until(lambda: ends_with_end(child.sock))  # the loop stands still meanwhile
    bench.do(lambda: bench.resumable.drop([("s", 1)]))
    bench.until(lambda: child.closed)

    assert not bench.agent.batches
    assert bench.resumable.log == {}
    assert [message[2] for message in bench.has_said("dropped", ("s", 1))] == ["dropped"]
