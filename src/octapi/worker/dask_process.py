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

from octapi.device import limits
from octapi.device.accounts import files_of
from octapi.pool import memory_guard
from octapi.pool.library_threads import library_threads
from octapi.protocol import stdio_json
from octapi.settings import Settings, without_own
from octapi.worker.respawner import FIRST_S, how_ended, pause_after, when

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.device.accounts import Account

#: how long a process may take to end before it is killed, in seconds
STOP_S = 3.0
#: how often a process is looked at, in seconds
LOOK_S = 0.2


def is_too_big(total: int, free: int, held: int, floor: int) -> bool:
    """Say whether a process has to go that holds so many bytes, before jobs of others are stopped for want of memory.

    That happens when fewer than ``floor`` bytes are free.  A process that holds little is not the reason.
    """
    return total > 0 and free < floor * 5 // 4 and held > total // 4


class DaskProcess:
    """Keeps one process for Dask's tasks alive until it is closed.

    ``facts()`` returns what a new process is told, as :func:`octapi.worker.dask_worker.main` reads it.  It runs under
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
        data = stdio_json.to_line(message).encode()
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
            pause_s = pause_after(pause_s, time.monotonic() - began) if how else FIRST_S
            if how and not self._over.is_set():
                self._say(f"the process of Dask's tasks ended ({how}); another one starts {when(pause_s)}.")
            self._over.wait(pause_s)

    def _once(self) -> str:
        """Run one process to its end, and say how it ended; an empty text if Dask told it to end."""
        home = tempfile.mkdtemp(prefix="octapi-dask-")
        try:
            process = self._start(home)
            why = self._watch(process)
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
        return why or (how_ended(code) if code else "")

    def _watch(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for the end of the process, kill it when it takes the device's memory, and say so."""
        floor_mb = Settings.load().memory_floor_mb
        while process.poll() is None and not self._over.wait(LOOK_S):
            total, free = limits.device_memory()
            held = memory_guard.held_by(process.pid)
            if is_too_big(total, free, held, memory_guard.floor_of(total, floor_mb)):
                kill(process)
                return f"it took {held >> 20:,} MB of memory, and {free >> 20:,} MB were left"
        return ""

    def _start(self, home: str) -> subprocess.Popen[bytes]:
        environment = os.environ | library_threads(self._slots)
        under: dict[str, Any] = {}
        if self._account is not None:
            os.chown(home, self._account.uid, self._account.gid)
            under = {"user": self._account.uid, "group": self._account.gid, "extra_groups": [], "cwd": home}
            name = self._account.name
            environment = without_own(environment) | {"HOME": home, "USER": name, "LOGNAME": name}
        command = [sys.executable, "-P", "-m", "octapi.worker.dask_worker", *(["apart"] if under else [])]
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
