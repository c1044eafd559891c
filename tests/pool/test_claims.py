"""What the process that forks slots says of them: which processes are believed to be slots, and signalled."""

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from octapi.device.accounts import Account, is_root
from octapi.errors import MessageRefused
from octapi.pool import claims

needs_check = pytest.mark.skipif(not claims.CAN_CHECK, reason="this system has no descriptors of processes")
needs_root = pytest.mark.skipif(not is_root(), reason="only root signals what is not its own")
#: an account that this computer gives to nobody
NOBODY = Account("nobody-s", 60_901, 60_901)


def start(*command: str, uid: int | None = None) -> subprocess.Popen[bytes]:
    under: dict[str, Any] = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    found: subprocess.Popen[bytes] = subprocess.Popen(
        [*command], start_new_session=True, stdout=subprocess.PIPE, cwd="/", **under
    )
    return found


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    found = start("sleep", "100", uid=NOBODY.uid if is_root() else None)
    yield found
    found.kill()
    found.communicate()


ACCOUNT = NOBODY if is_root() else None


@needs_check
def test_a_child_that_was_asked_for_is_held_and_signalled(child: subprocess.Popen[bytes]) -> None:
    """And later signals reach nobody."""
    process = claims.held(child.pid, os.getpid(), claims.since_boot() - 5, ACCOUNT)

    process.signal_all(signal.SIGTERM)

    assert child.wait(10) == -signal.SIGTERM
    process.signal(signal.SIGTERM)
    process.close()
    process.signal_all(signal.SIGTERM)


@needs_check
@needs_root
@pytest.mark.parametrize(
    ("parent", "later_s", "account", "words"),
    [
        (1, -5.0, NOBODY, "child of process"),
        (0, 5.0, NOBODY, "began before"),
        (0, -5.0, Account("other", 60_902, 60_902), "belongs to account"),
    ],
)
def test_a_process_is_refused_that_is_anothers(
    child: subprocess.Popen[bytes], parent: int, later_s: float, account: Account, words: str
) -> None:
    """By its parent, its start or its account."""
    with pytest.raises(MessageRefused, match=words):
        claims.held(child.pid, parent, claims.since_boot() + later_s, account)
    assert child.poll() is None


@pytest.mark.parametrize("pid", [-5, -1, 0, 1])
def test_numbers_that_mean_many_processes_or_the_first_are_no_slots(pid: int) -> None:
    """A signal to -1 goes to all."""
    with pytest.raises(MessageRefused):
        claims.held(pid, 0, 0.0, None)


@needs_check
def test_a_process_that_has_ended_is_nobody() -> None:
    """Its end is told next."""
    gone = start("true")
    gone.communicate()

    with pytest.raises(ProcessLookupError):
        claims.held(gone.pid, os.getpid(), 0.0, None)


@needs_check
@needs_root
def test_with_a_slot_all_of_its_group_is_signalled() -> None:
    """At once, so that none can start others meanwhile."""
    leader = start("/bin/sh", "-c", "sleep 70 & sleep 70 & echo x; wait", uid=NOBODY.uid)
    assert leader.stdout is not None
    assert leader.stdout.readline() == b"x\n"
    family = psutil.Process(leader.pid).children()
    assert len(family) == 2

    claims.held(leader.pid, os.getpid(), claims.since_boot() - 5, NOBODY).signal_all(signal.SIGKILL)

    leader.communicate()
    assert not psutil.wait_procs(family, 10)[1]
