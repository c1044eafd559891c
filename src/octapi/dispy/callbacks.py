"""The one thread of a process that runs all callbacks, in order."""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from octapi.dispy.logger import logger
from octapi.dispy.window import Windows

if TYPE_CHECKING:
    from collections.abc import Callable

#: after how many seconds a wait for callbacks says which one it waits for
SPEAK_S: Final = 2.0
#: how long a callback may stand at one place before ``wait`` goes on without it, in seconds
STANDSTILL_S: Final = 60.0
#: how often waits look at the callback that runs, in seconds
LOOK_S: Final = 0.5


class Call(NamedTuple):
    """A callback with its arguments.

    ``job`` is the submitted job of which it tells, or None; ``done`` is called when it has run.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    job: Any
    done: Callable[[], None]


class Callbacks:
    """Runs callbacks first in, first out, on a daemon thread of its own."""

    def __init__(self) -> None:
        self.windows = Windows()
        self._queue: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._current: Call | None = None
        self._count = 0

    def put(self, call: Call) -> None:
        """Queue a call."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="octapi-callbacks", daemon=True)
                    self._thread.start()
        self._queue.put(call)

    def is_own_thread(self) -> bool:
        """Say whether the caller is a callback, which cannot wait for others."""
        return self._thread is not None and threading.current_thread() is self._thread

    def _run(self) -> None:
        while True:
            call = self._queue.get()
            try:
                self._run_one(call)
            except BaseException:  # also SystemExit: the callbacks of other jobs go on
                name = getattr(call.function, "__name__", repr(call.function))
                logger.warning("Status notification %s failed: %s", name, traceback.format_exc())
            self._current = None
            self._count += 1
            self.windows.close()
            call.done()
            del call

    def _run_one(self, call: Call) -> None:
        if call.job is not None:
            if call.job._window is not None:
                call.job._window.wait()
            if call.args[-1] is not call.job:
                call.args[-1]._id = call.job._id
        self._current = call
        call.function(*call.args)

    def drain(self, standstill_s: float | None = None) -> None:
        """Wait until everything queued so far has run.

        It gives up on a callback that stands at one place for ``standstill_s`` seconds.
        """
        if self._thread is not None and not self.is_own_thread():
            done = threading.Event()
            patience = Patience(self, standstill_s)
            self.put(Call(_nothing, (), None, done.set))
            while not done.wait(LOOK_S):
                if patience.is_over():
                    return

    def place(self) -> tuple[int, ...]:
        """Return numbers that change while callbacks get on."""
        found = [self._count]
        frame = sys._current_frames().get((self._thread and self._thread.ident) or 0)
        while frame is not None:
            found += (id(frame.f_code), frame.f_lasti)
            frame = frame.f_back
        return tuple(found)

    def current_name(self) -> str:
        """Say which callback runs, for people."""
        call = self._current
        if call is None:
            return "a callback"
        code = getattr(getattr(call.function, "__func__", call.function), "__code__", None)
        where = f" ({code.co_filename}, line {code.co_firstlineno})" if code is not None else ""
        name = getattr(call.function, "__name__", repr(call.function))
        return f"the callback {name}{where}" + (f" of job {call.job.id}" if call.job is not None else "")


class Owed:
    """The callbacks of one cluster that are queued and have not run; it is true while there are any."""

    def __init__(self, change: threading.Condition) -> None:
        self._change = change
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self) -> None:
        """Take note of a callback that is queued."""
        with self._change:
            self._count += 1

    def done(self) -> None:
        """Take note of one that has run."""
        with self._change:
            self._count -= 1
            if not self._count:
                self._change.notify_all()


class Patience:
    """One wait for callbacks: it says which callback it waits for, and for how long that one may stand still."""

    def __init__(self, callbacks: Callbacks, standstill_s: float | None = STANDSTILL_S) -> None:
        self._callbacks = callbacks
        self._standstill_s = standstill_s
        self._started = self._since = time.monotonic()
        self._place: tuple[int, ...] = ()
        self._said = False

    def is_over(self) -> bool:
        """Look at the callback that runs; True when there is no use in waiting for it."""
        now = time.monotonic()
        place = self._callbacks.place()
        if place != self._place:
            self._place, self._since = place, now
        if not self._said and now - self._started >= SPEAK_S:
            self._said = True
            say(f"waiting for {self._callbacks.current_name()}.")
        if self._standstill_s is None or now - self._since < self._standstill_s:
            return False
        say(f"{self._callbacks.current_name()} stands still for {now - self._since:.0f} s; going on without it.")
        return True


def say(text: str) -> None:
    """Tell people something on stderr."""
    print(f"octapi: {text}", file=sys.stderr, flush=True)


def _nothing() -> None:
    """Be the call that marks the end of what is queued."""
