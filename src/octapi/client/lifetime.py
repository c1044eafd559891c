"""What lives of a Cluster until its last job is done, also when the script has let go of the Cluster itself."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from octapi.client.callbacks import Callbacks
from octapi.client.dispatcher import forked_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.client.dispatcher import Dispatcher
    from octapi.client.progress import Bar
    from octapi.job import Job
    from octapi.results import Results

#: what the end of the interpreter waits for, and what a forked process has to disown
ALIVE: set[Lifetime] = set()


class Lifetime:
    """Jobs, maps and callbacks that are not done, and what is to be closed after them."""

    def __init__(self, engine: Dispatcher) -> None:
        self.engine = engine
        self.open: set[Job[Any]] = set()
        self.results: set[Results[Any]] = set()
        self.callbacks = Callbacks()
        self.stack = contextlib.ExitStack()
        self.bar: Bar | None = None
        self.submitted = 0
        #: items of maps that are over: how many were done, and how many there were
        self.mapped = (0, 0)
        self.is_over = False
        self._closing = threading.Lock()
        ALIVE.add(self)
        engine.on_fork.append(self._disown)

    def ended(self, job: Job[Any]) -> None:
        """A job is done."""
        self.open.discard(job)

    def end_map(self, results: Results[Any]) -> None:
        """A map is over."""
        if results in self.results:
            self.results.discard(results)
            self.mapped = (self.mapped[0] + results.done, self.mapped[1] + results.done)

    def is_engine_thread(self) -> bool:
        """Say whether this is the thread on which outcomes arrive."""
        return self.engine.is_own_thread()

    def counts(self) -> tuple[int, int]:
        """Return how many jobs are done, and how many there are."""
        results = list(self.results)
        total = self.submitted + self.mapped[1] + sum(r.total for r in results)
        done = self.submitted - len(self.open) + self.mapped[0] + sum(r.done for r in results)
        return done, total

    def cancel(self) -> None:
        """Take back what has not started."""
        for results in list(self.results):
            results.close()
        for job in list(self.open):
            if not job.running():
                job.cancel()

    def drain(self) -> None:
        """Wait until all jobs, maps and callbacks are done, and close."""
        while not self.is_over and (self.results or self.open):
            for results in list(self.results):
                results.finish()
                self.end_map(results)
            concurrent.futures.wait(list(self.open))
            time.sleep(0)  # a job that is done is open for as long as its callbacks are handed over
        self.callbacks.drain()
        self.close()

    def close(self) -> None:
        """Stop the engine and what was opened beside it; jobs that are left end as cancelled."""
        with self._closing:
            if self.is_over:
                return
            self.is_over = True
            ALIVE.discard(self)
            if self.bar is not None:
                self.bar.close()
            self.stack.close()
            self.engine.close()
            self.callbacks.close()

    # ---- without the Cluster

    def let_go(self) -> None:
        """The script has dropped the Cluster: close as soon as its jobs are done.

        It may be called at any moment, wherever memory is collected, and so takes no lock here.
        """
        if not self.is_over:
            self.engine.call(self._end_alone)

    def _end_alone(self) -> None:
        threading.Thread(target=self.drain, name="octapi-shutdown", daemon=True).start()

    def _disown(self) -> None:
        """This is a forked process: what belongs to the other one is neither waited for nor closed here."""
        self.is_over = True
        ALIVE.discard(self)
        self._closing = threading.Lock()
        self.callbacks = Callbacks()
        error = forked_error(self.engine.pid)
        for job in list(self.open):
            disown(job, error)
        for results in list(self.results):
            results.abandon(error)
        self.open.clear()
        self.results.clear()


def disown(job: Job[Any], error: Exception) -> None:
    """End a job that another process waits for; its locks may be held by threads that are not here."""
    job._condition = threading.Condition()
    if not job.done():
        job._done_callbacks = []
        job._life = None
        job.set_exception(error)


# ---- the end of the interpreter


def finish_all() -> None:
    """Have everything done before the interpreter ends, as the standard library's executors do."""
    try:
        if was_interrupted():
            stop_all()
        for life in list(ALIVE):
            life.drain()
    except KeyboardInterrupt:
        stop_all()
        end_as_interrupted()


def was_interrupted() -> bool:
    """Say whether Ctrl-C ends the script."""
    kind: Any = None if hasattr(sys, "ps1") else getattr(sys, "last_type", None)
    return isinstance(kind, type) and issubclass(kind, KeyboardInterrupt)


def stop_all() -> None:
    """Stop all jobs, however often Ctrl-C is pressed."""
    with contextlib.suppress(ValueError):  # only the main thread may do that
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for life in list(ALIVE):
        life.close()


def end_as_interrupted() -> None:
    """End this process so that its parent sees why, after what the script wanted to be done at its end."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


def register(function: Callable[[], None]) -> None:
    """Have a function called when the main thread has ended, while threads can still be started."""
    early: Any = getattr(threading, "_register_atexit", None)
    (early or atexit.register)(function)


register(finish_all)
