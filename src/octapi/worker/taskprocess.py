"""A process that runs Dask's own tasks, and its successor when a task has killed it.

Tasks share their process, as is Dask's way, so one that exits, crashes or takes all memory ends it.  That must not end
an agent, whose slots work for others: so it is a process of its own, started when somebody uses Dask.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

from octapi import lines
from octapi.account import files_of
from octapi.worker.library_threads import library_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.account import Account

#: how long a process may take to end before it is killed, in seconds
STOP_S = 3.0
#: one that lived for so long is followed at once; others after pauses that double, in seconds
GOOD_S = 30.0
FIRST_S, LONGEST_S = 0.25, 30.0


def pause_after(pause_s: float, lived_s: float) -> float:
    """Return how long to wait before the next process, after one that lived for ``lived_s`` seconds."""
    return 0.0 if lived_s >= GOOD_S else min(max(2 * pause_s, FIRST_S), LONGEST_S)


def how_ended(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


class TaskProcess:
    """Keeps one process for Dask's tasks alive until it is closed.

    ``facts()`` returns what a new process is told, as :func:`octapi.worker.tasknode.main` reads it.  It runs under
    ``account``, if one is given.  ``slots`` is the number of slots that share this device's cores.
    What tasks print goes to the descriptor ``output``; None for this process's stdout.
    """

    def __init__(
        self,
        facts: Callable[[], dict[str, Any]],
        slots: int,
        say: Callable[[str], None],
        account: Account | None = None,
        output: int | None = 2,
    ) -> None:
        self._facts = facts
        self._slots = slots
        self._say = say
        self._account = account
        self._output = output
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="octapi-dask", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Return the number of the process that there is now; 0 if there is none."""
        process = self._process
        return 0 if process is None else process.pid

    def tell(self, message: dict[str, Any]) -> None:
        """Tell the process something; one that does not listen any more is ended."""
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._write(self._process, message)

    def _write(self, process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
        data = lines.to_line(message).encode()
        assert process.stdin is not None
        try:
            if os.write(process.stdin.fileno(), data) != len(data):
                kill(process)
        except BlockingIOError:
            kill(process)
        except OSError:
            return  # it has ended, which is noticed elsewhere

    def close(self) -> None:
        """End the process for good, and wait for its end."""
        self._over.set()
        with self._lock:
            if self._process is not None:
                self._process.terminate()
        self._thread.join(STOP_S)
        with self._lock:
            if self._process is not None:
                kill(self._process)
        self._thread.join()

    def _keep(self) -> None:
        pause_s = 0.0
        while not self._over.is_set():
            began = time.monotonic()
            try:
                how = self._once()
            except OSError as error:
                how = str(error)
            pause_s = pause_after(pause_s, time.monotonic() - began)
            if how and not self._over.is_set():
                when = f"in {pause_s:.0f} s" if pause_s >= 1 else "now"
                self._say(f"the process of Dask's tasks ended ({how}); another one starts {when}.")
            self._over.wait(pause_s)

    def _once(self) -> str:
        """Run one process to its end, and say how it ended; an empty text if Dask told it to end."""
        home = tempfile.mkdtemp(prefix="octapi-dask-")
        try:
            process = self._start(home)
            code = process.wait()
            with self._lock:
                self._process = None
            kill(process)  # what its tasks have started
            assert process.stdin is not None
            process.stdin.close()
        finally:
            with files_of(self._account):
                shutil.rmtree(home, ignore_errors=True)
            shutil.rmtree(home, ignore_errors=True)
        return how_ended(code) if code else ""

    def _start(self, home: str) -> subprocess.Popen[bytes]:
        environment = os.environ | library_threads(self._slots)
        under: dict[str, Any] = {}
        if self._account is not None:
            os.chown(home, self._account.uid, self._account.gid)
            under = {"user": self._account.uid, "group": self._account.gid, "extra_groups": [], "cwd": home}
            environment = {key: value for key, value in environment.items() if not key.startswith("OCTAPI_")}
            environment |= {"HOME": home, "USER": self._account.name, "LOGNAME": self._account.name}
        command = [sys.executable, "-P", "-m", "octapi.worker.tasknode", *(["apart"] if under else [])]
        facts = self._facts() | {"home": home, "parent": os.getpid()}
        with self._lock:
            process = self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=self._output, env=environment, start_new_session=True, **under
            )
            assert process.stdin is not None
            os.set_blocking(process.stdin.fileno(), False)
            self._write(process, facts)
            if self._over.is_set():
                process.terminate()
        return process


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with everything that it started in its session's group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
