"""The processes that slots are forked from die: other ones take their place, and the next jobs end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import octapi
from octapi.embedded import EmbeddedCluster
from octapi.errors import JobCrashed
from tests.yard import until


def parent() -> int:
    """Return the process that forked the one that runs this."""
    import os

    return os.getppid()


def kill_parent() -> None:
    """Kill the process that forked the one that runs this."""
    import os
    import signal
    import time

    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def test_a_killed_zygote_has_a_successor() -> None:
    """Whether it dies while nothing runs, or a job kills it: that job fails, and the next ones end."""
    with EmbeddedCluster(workers=1) as embedded, octapi.Cluster(embedded.address) as cluster:
        first = cluster.submit(parent).result(30)
        os.kill(first, signal.SIGKILL)
        # a slot that was there already may take one more job before the death is seen
        second = until(lambda: (found := cluster.submit(parent).result(30)) != first and found)

        assert isinstance(cluster.options(retries=0).submit(kill_parent).exception(30), JobCrashed)
        assert cluster.submit(parent).result(30) not in (first, second)


SETUP = """
import dispy, os, signal, sys
def setup():
    global there
    there = 1
    return 0
def compute(n):
    import os
    return there, os.getppid()
cluster = dispy.JobCluster(compute, setup=setup)
made, first = cluster.submit(1)()
os.kill(first, signal.SIGKILL)
second = first
while second == first:
    made, second = cluster.submit(2)()
print(made, first != second)
cluster.close()
"""


def test_a_killed_cradle_has_a_successor_and_its_setup_runs_again(tmp_path: Path) -> None:
    """The next job finds what setup made."""
    path = tmp_path / "script.py"
    path.write_text(SETUP)
    with EmbeddedCluster(workers=1) as embedded:
        env = dict(os.environ, OCTAPI_ADDRESS=embedded.address)
        done = subprocess.run(
            [sys.executable, str(path)], env=env, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
        )
        assert done.stdout == "1 True\n", done.stderr
