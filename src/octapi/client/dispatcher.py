"""The dispatcher: one thread in the client, on which :class:`~octapi.client.core.Core` and the link live."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVarTuple

from octapi.client.core import Watcher, forked_error
from octapi.client.linked_core import LinkedCore
from octapi.client.listener import ComputationListener
from octapi.client.queue import ComputationQueue
from octapi.client.waiting import Reporter, speak
from octapi.errors import MasterLost

__all__ = ["Dispatcher", "forked_error"]

Ts = TypeVarTuple("Ts")

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from octapi.client.link import Link
    from octapi.protocol.computation import Computation
    from octapi.protocol.outcome import WorkerInfo


class Dispatcher(LinkedCore):
    """Owns the thread, and the link it makes there."""

    def __init__(self, make_link: Callable[[], Link]) -> None:
        super().__init__()
        self._make_link = make_link
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        #: the process that it belongs to, and what is to be done in one that is forked from it
        self.pid = os.getpid()
        self.on_fork: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="octapi-dispatcher", daemon=True)
        self._thread.start()
        ALL.add(self)
        try:
            self._started.wait()
        except BaseException:  # Ctrl-C while a master is looked for
            self._abort()
            raise
        if self._failure is not None:
            raise self._failure

    # ---- the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._failure = error
            if self._started.is_set() and not self.is_closed:  # nothing can run any more, and nobody may wait for it
                self.complain(error, "it ends here")
                self.link_lost(MasterLost(f"The dispatcher has ended: {type(error).__name__}: {error}"))
            self._started.set()

    def _abort(self) -> None:
        self.is_closed = True
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._loop.set_exception_handler(self._went_wrong)
        self._stop = asyncio.Event()
        self.link = self._make_link()
        try:
            await self.link.start(self)
            self._started.set()
            speaking = self._loop.create_task(speak(self))
            await self._stop.wait()
            speaking.cancel()
            Reporter(self).report()
        finally:
            await self.link.close()

    def call(self, function: Callable[[*Ts], None], *args: *Ts) -> None:
        """Run ``function`` on the dispatcher's thread, soon; what it raises fails the jobs that it concerns."""
        if self.is_forked:
            return
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self.run, function, *args)
        except RuntimeError:  # the loop is closed
            if self.is_broken is not None:  # so jobs end here
                self.run(function, *args)

    def _went_wrong(self, _: asyncio.AbstractEventLoop, facts: dict[str, Any]) -> None:
        """Say what went wrong in the loop beside the jobs."""
        error = facts.get("exception")
        if error is not None:
            self.complain(error, str(facts.get("message")))

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Run ``function`` on the dispatcher's thread after so many seconds, unless it has ended then."""
        loop = self._loop
        assert loop is not None

        def arm() -> None:
            loop.call_later(seconds, self.run, function)

        self.call(arm)

    def call_and_wait(self, function: Callable[[*Ts], None], *args: *Ts) -> None:
        """Run ``function`` on the dispatcher's thread, and return when it has run."""
        if threading.current_thread() is self._thread:
            function(*args)
            return self.carry_out()
        done = threading.Event()

        def run() -> None:
            try:
                self.run(function, *args)
            finally:
                done.set()

        self.call(run)
        while not done.wait(0.1) and self._thread.is_alive():
            pass
        return None

    # ---- from any thread

    def open(
        self,
        computation: Computation,
        *,
        limits: Mapping[str, int] | None = None,
        listener: ComputationListener | None = None,
        worker_facts: Mapping[str, dict[str, Any]] | None = None,
    ) -> ComputationQueue:
        """Make a computation known to the cluster, and return the queue for its jobs."""
        self.check_open()
        queue = ComputationQueue(self, computation, limits, listener or ComputationListener())
        queue.worker_facts.update(worker_facts or {})
        self.call(self.add_lane, queue)
        return queue

    @property
    def kind(self) -> str:
        """``local`` or ``remote``."""
        return self.link.kind if self.link is not None else ""

    @property
    def recovery(self) -> dict[str, str]:
        """What another process needs to find this client's jobs if it crashes."""
        return self.link.recovery if self.link is not None else {}

    def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the workers there are now."""
        return tuple(self.infos.values())

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher("joined" | "left" | "health", worker)`` on the dispatcher's thread from now on."""
        self.watchers.append(watcher)

    def close(self, wait: bool = True) -> None:
        """Stop the thread, the link and, on this computer alone, the slots; jobs left end as cancelled."""
        if self.is_forked:
            return
        self.is_closed = True
        self.call(self._close)
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def _close(self) -> None:
        self.cancel_everything()
        if self._stop is not None:
            self._stop.set()

    def is_own_thread(self) -> bool:
        """Say whether this is the dispatcher's thread."""
        return threading.get_ident() == self._thread.ident

    def forked(self) -> None:
        """This is a forked process: the thread, the link and the slots are the other one's."""
        self.is_forked = True
        for disown in self.on_fork:
            disown()


#: all dispatchers of this process, for a process that is forked from it
ALL: weakref.WeakSet[Dispatcher] = weakref.WeakSet()


def forked_here() -> None:
    """Disown the dispatchers of the process that this one was forked from."""
    for dispatcher in list(ALL):
        dispatcher.forked()
    ALL.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forked_here)
