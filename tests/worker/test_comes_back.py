"""octapi worker comes back by itself when its process dies, and ends when it is told to."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from octapi.worker import respawner
from tests.harness import Running, Yard, until


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    tmp_path.chmod(0o700)
    found = Yard(tmp_path)
    yield found
    found.close()


def process_of(worker: Running) -> psutil.Process:
    """Return the process that works, below the one that watches it."""
    (found,) = [child for child in psutil.Process(worker.process.pid).children() if "worker" in child.cmdline()]
    return found


def test_a_worker_that_is_killed_is_started_again_and_its_slots_are_gone(yard: Yard) -> None:
    """One line says so, twice with a pause; jobs run there again, and a signal still ends it all."""
    yard.master()
    red = yard.worker("red", yard.token())
    for times, number in ((2, signal.SIGKILL), (3, signal.SIGSEGV)):
        doomed = process_of(red)
        family = doomed.children(recursive=True)
        assert family
        doomed.send_signal(number)
        red.until_says(f"the worker's process ended (signal {number.name}); it starts again now.")
        red.until_says("red works for", times=times)
        until(lambda family=family: not any(process.is_running() for process in family))
    script = yard.script(
        "master", "import octapi\nwith octapi.Cluster() as c:\n    print(c.submit(abs, -7).result())\n"
    )
    assert script.wait(60) == 0
    family = process_of(red).children(recursive=True)

    red.process.send_signal(signal.SIGINT)
    assert red.wait() == 0
    until(lambda: not any(process.is_running() for process in family))
    assert "Traceback" not in red.text()


def test_a_worker_that_ends_with_a_message_is_not_started_again(yard: Yard) -> None:
    """An error that a person must mend is said once."""
    said = yard.command("red", "worker", "--ssh-port", "0", code=1)
    assert "This device is in no cluster yet" in said
    assert "starts again" not in said


def test_the_worker_dies_with_the_process_that_watches_it(yard: Yard) -> None:
    """Nobody is left behind whom no signal reaches."""
    yard.master()
    red = yard.worker("red", yard.token())
    family = [process_of(red), *process_of(red).children(recursive=True)]
    red.process.kill()
    until(lambda: not any(process.is_running() for process in family))


def test_the_watcher_needs_the_standard_library_only() -> None:
    """It is paid for by devices that are idle."""
    text = Path(respawner.__file__).read_text(encoding="utf-8")
    assert "import octapi" not in text
    assert "from octapi" not in text
