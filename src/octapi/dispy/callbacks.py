"""The one thread of a process that runs all callbacks, in order."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from octapi.dispy.logger import logger

#: how long a job's callbacks wait for the script to assign ``job.id``, in seconds
NAMING_S = 0.01

Call = tuple[Callable[..., Any], tuple[Any, ...], Any]


class Callbacks:
    """Runs callbacks first in, first out, on a daemon thread of its own."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(self, function: Callable[..., Any], args: tuple[Any, ...], job: Any) -> None:
        """Queue a call; ``job`` is the submitted job whose name it waits for, or None."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="octapi-callbacks", daemon=True)
                    self._thread.start()
        self._queue.put((function, args, job))

    def _run(self) -> None:
        while True:
            function, args, job = self._queue.get()
            if job is not None and not job._named:
                time.sleep(max(0.0, job.submit_time + NAMING_S - time.time()))
            if job is not None and args[-1] is not job:
                args[-1]._id = job._id
            try:
                function(*args)
            except Exception:
                name = getattr(function, "__name__", repr(function))
                logger.warning("Status notification %s failed: %s", name, traceback.format_exc())

    def drain(self, timeout_s: float = 10.0) -> None:
        """Wait until everything queued so far has run."""
        if self._thread is not None and threading.current_thread() is not self._thread:
            done = threading.Event()
            self._queue.put((done.set, (), None))
            done.wait(timeout_s)
