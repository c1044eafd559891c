"""Callbacks of jobs: run apart from the thread on which outcomes arrive, so that outcomes go on arriving meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: a callback that takes longer than this waits for something: another thread goes on with the next, in seconds
BLOCK_S = 0.05
#: how long a thread without work stays, in seconds
IDLE_S = 2.0
#: how many callbacks may wait for something at once
MOST = 64

logger = logging.getLogger("concurrent.futures")


class Callbacks:
    """Runs what it is given first in, first out, one at a time unless one blocks, on threads that come and go."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._threads: set[threading.Thread] = set()
        self._busy = 0
        self._idle = 0
        self._began = 0.0
        self._is_over = False

    def put(self, call: Callable[[], None]) -> None:
        """Run ``call`` soon, on another thread; here when no thread can be started any more."""
        with self._change:
            self._calls.append(call)
            if self._idle:
                self._change.notify()
                return
            if len(self._threads) >= MOST or self._start():
                return
            self._calls.pop()
        safely(call)

    def _start(self) -> bool:
        thread = threading.Thread(target=self._work, name="octapi-callbacks", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # the interpreter ends, or the system has no more threads: those that there are do it
            self._threads.discard(thread)
            return bool(self._threads)
        return True

    def is_own(self) -> bool:
        """Say whether this is one of its threads."""
        return threading.current_thread() in self._threads

    def drain(self) -> None:
        """Wait until everything has run; on a thread of its own, where that would wait for itself, return at once."""
        if self.is_own():
            return
        with self._change:
            self._change.wait_for(lambda: not self._calls and not self._busy)

    def close(self) -> None:
        """Let threads without work end at once."""
        with self._change:
            self._is_over = True
            self._change.notify_all()

    def _work(self) -> None:
        while (call := self._next()) is not None:
            safely(call)
            del call
            with self._change:
                self._busy -= 1
                self._change.notify_all()

    def _next(self) -> Callable[[], None] | None:
        """Return what is to run now; None when this thread may end."""
        with self._change:
            until = time.monotonic() + IDLE_S
            while True:
                if self._calls and (left := self._must_wait()) <= 0:
                    break
                if not self._calls and (self._is_over or (left := until - time.monotonic()) <= 0):
                    self._threads.discard(threading.current_thread())
                    return None
                self._idle += 1
                self._change.wait(left)
                self._idle -= 1
            self._busy += 1
            self._began = time.monotonic()
            call = self._calls.popleft()
            if self._calls and not self._idle and len(self._threads) < MOST:
                self._start()
            return call

    def _must_wait(self) -> float:
        """Return how long the callback that runs may still go on alone, in seconds."""
        return self._began + BLOCK_S - time.monotonic() if self._busy else 0.0


def safely(call: Callable[[], None]) -> None:
    """Run a callback; what it raises is logged as the standard library does, and harms nobody."""
    try:
        call()
    except BaseException:
        logger.exception("exception calling callback")
