"""The small process that starts a worker again when it dies.

It is run as a file of its own with the standard library alone, because a device that is idle pays for it:
``python -I -S respawner.py PID PIPE LINE COMMAND ...``.  The pipe's other end is the worker's, which writes to it when
it is over for good.  LINE is how the worker logs: see :func:`octapi.telemetry.logs.template`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

#: a process that lived for so long is followed at once; others after pauses that double, in seconds
GOOD_S = 30.0
FIRST_S = 0.25
LONGEST_S = 30.0
#: how long what a dead worker has left may take to end, in seconds
SWEEP_S = 5.0


def pause_after(pause_s: float, lived_s: float) -> float:
    """Return how long to wait before the next process, after one that lived for ``lived_s`` seconds."""
    return 0.0 if lived_s >= GOOD_S else min(max(2 * pause_s, FIRST_S), LONGEST_S)


def when(pause_s: float) -> str:
    """Say when the next process starts."""
    return f"in {pause_s:.0f} s" if pause_s >= 1 else "now"


def how_ended(code: int) -> str:
    """Say how a process ended that left this exit code, or the negative number of a signal."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


class Respawner:
    """Waits for one worker after the other, and tells each by ``variable`` the number of its end of the pipe."""

    def __init__(self, pid: int, pipe: int, variable: str, line: str, command: list[str]) -> None:
        self.pid = pid
        self.pipe = pipe
        self.variable = variable
        self.line = line
        self.command = command
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.ask)

    def ask(self, number: int, _: object) -> None:
        """Somebody asks for the end: pass it on, once."""
        if not self.asked:
            self.asked = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def run(self) -> int:
        """Start the worker again whenever it dies, and return its exit code once it is over for good."""
        pause_s, began = 0.0, time.monotonic()
        while True:
            code = self.wait()
            is_over = bool(os.read(self.pipe, 1))
            os.close(self.pipe)
            if is_over or self.asked:
                return code if code >= 0 else 128 - code
            sweep()
            pause_s = pause_after(pause_s, time.monotonic() - began)
            self.say(f"the worker's process ended ({how_ended(code)}); it starts again {when(pause_s)}.")
            time.sleep(pause_s)
            if self.asked:
                return 0
            began = time.monotonic()
            self.start()

    def say(self, text: str) -> None:
        """Write one line of the worker's log."""
        if self.line:
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            print(self.line.replace("TIME", moment).replace("TEXT", text), file=sys.stderr, flush=True)

    def start(self) -> None:
        """Start a worker by the command of the first."""
        self.pipe, theirs = os.pipe()
        os.set_inheritable(theirs, True)
        environment = dict(os.environ)
        environment[self.variable] = str(theirs)
        self.pid = os.posix_spawn(self.command[0], self.command, environment)
        os.close(theirs)

    def wait(self) -> int:
        """Wait for the worker's end; return its exit code or negative signal."""
        while True:
            found, status = os.waitpid(-1, 0)
            if found == self.pid:
                return os.waitstatus_to_exitcode(status)


def sweep() -> None:
    """Kill what a dead worker has left: slots whose parent is gone are this process's children now."""
    deadline = time.monotonic() + SWEEP_S
    while time.monotonic() < deadline:
        for child in children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            found, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not found:
            time.sleep(0.02)


def children() -> list[int]:
    """Return this process's children; none where the system does not tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:  # noqa: PTH123 - pathlib is big
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(Respawner(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:]).run())
