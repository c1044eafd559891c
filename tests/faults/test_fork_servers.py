"""The processes that slots are forked from die: other ones take their place, and the next jobs end."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest

import octapi
from octapi.errors import JobCrashed
from octapi.pool import processes, recorder
from octapi.protocol.exits import KilledFor
from octapi.protocol.stream import FrameStream
from octapi.testing import EmbeddedCluster
from tests.harness import until


def fork_server() -> int:
    """Return the process that forked the slot of the job that runs this."""
    import os
    from pathlib import Path

    return int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])


def kill_fork_server() -> None:
    """Kill the process that forked the slot of the job that runs this."""
    import os
    import signal
    import time

    os.kill(fork_server(), signal.SIGKILL)
    time.sleep(60)


def asked(cluster: octapi.Cluster) -> int:
    """Return what :func:`fork_server` says; 0 for a job that was killed with the old one before that was seen."""
    job = cluster.submit(fork_server)
    return 0 if isinstance(job.exception(30), JobCrashed) else job.result()


def kill_slot() -> None:
    """Kill the slot of the job that runs this."""
    import os
    import signal
    import time

    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def test_a_killed_zygote_has_a_successor() -> None:
    """Whether it dies while nothing runs, or a job kills it: that job fails, and the next ones end."""
    with EmbeddedCluster(workers=1) as embedded, octapi.Cluster(embedded.address) as cluster:
        first = cluster.submit(fork_server).result(30)
        os.kill(first, signal.SIGKILL)
        second = until(lambda: (found := asked(cluster)) != first and found)

        assert isinstance(cluster.options(retries=0).submit(kill_fork_server).exception(30), JobCrashed)
        assert cluster.submit(fork_server).result(30) not in (first, second)


def test_a_slot_that_is_killed_takes_its_job_with_it_and_nobody_else() -> None:
    """The job fails by name, and the next one has another slot."""
    with octapi.Cluster("local", slots=1) as cluster:
        assert isinstance(cluster.submit(kill_slot).exception(30), JobCrashed)
        assert cluster.submit(abs, -1).result(30) == 1


SETUP = """
import dispy, os, signal, sys
def setup():
    global there
    there = 1
    return 0
def compute(n):
    import os
    from pathlib import Path
    return there, int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])
cluster = dispy.JobCluster(compute, setup=setup)
made, first = cluster.submit(1)()
os.kill(first, signal.SIGKILL)
second = first
while second == first:  # a job may be killed with the old process before that was seen
    made, second = cluster.submit(2)() or (made, first)
print(made, first != second)
cluster.close()
"""


def test_a_killed_prepared_fork_server_has_a_successor_and_its_setup_runs_again(tmp_path: Path) -> None:
    """The next job finds what setup made."""
    path = tmp_path / "script.py"
    path.write_text(SETUP)
    with EmbeddedCluster(workers=1) as embedded:
        env = dict(os.environ, OCTAPI_ADDRESS=embedded.address)
        done = subprocess.run(
            [sys.executable, str(path)], env=env, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
        )
        assert done.stdout == "1 True\n", done.stderr


BROKEN = """
import octapi
with octapi.Cluster("local", slots=2) as cluster:
    for _ in range(2):
        print(cluster.submit(abs, -1).exception(timeout=60))
"""


def test_where_no_slot_can_be_started_jobs_fail_by_name(tmp_path: Path) -> None:
    """Instead of a wait without end; the error holds what the process that forks slots has said."""
    (tmp_path / "msgpack.py").write_text("raise SystemExit('this msgpack is not the library')\n")
    env = dict(os.environ, PYTHONPATH=str(tmp_path), OCTAPI_HOME=str(tmp_path / "home"))
    done = subprocess.run(
        [sys.executable, "-P", "-c", LIBRARY_FIRST + BROKEN],
        env=env, capture_output=True, text=True, check=False, timeout=100, cwd=tmp_path,
    )  # fmt: skip

    assert done.stdout.count("this msgpack is not the library") == 2, done.stdout + done.stderr
    assert done.stdout.count("No process for jobs can be started") == 2


#: this process itself has the library
LIBRARY_FIRST = "import os, sys\nsys.path.remove(os.environ['PYTHONPATH'])\n"


class Silent:
    """A slot whose agent reads nonsense from it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.killed_for = KilledFor.NOTHING
        self.is_killed = False

    async def connect(self) -> FrameStream:
        stream = FrameStream()
        stream.get_buffer(-1)[: len(self.data)] = self.data
        stream.buffer_updated(len(self.data))
        stream.eof_received()
        return stream

    def kill_for(self, reason: KilledFor) -> None:
        self.killed_for, self.is_killed = reason, True


def test_a_slot_whose_frames_make_no_sense_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody else notices, and the log says what came."""
    slot: Any = Silent(recorder.HEAD.pack(3, recorder.SENDS_EVENT[0]) + b"\xc1\xc1\xc1")

    def take(child: Any, kind: int, body: bytes) -> None:
        msgpack.unpackb(body)

    asyncio.run(processes.frames(slot, take, 1 << 20))

    assert slot.is_killed
    assert slot.killed_for == KilledFor.NONSENSE
    assert "cannot be used" in capsys.readouterr().err


def test_a_slot_that_announces_more_than_may_be_held_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    """Before a byte of it is read, for the agent would have to keep it."""
    slot: Any = Silent(recorder.HEAD.pack(1 << 31, recorder.SENDS_RESULTS[0]) + b"x")

    asyncio.run(processes.frames(slot, lambda *_: None, 1 << 20))

    assert slot.is_killed
    assert "announced a frame of 2,147,483,648 bytes" in capsys.readouterr().err
