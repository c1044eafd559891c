"""The dispatcher: one thread in the client, on which :class:`~octapi.dispatch.core.Core` and the link live."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from octapi.dispatch.core import Core, Watcher
from octapi.dispatch.lane import Lane, Listener
from octapi.dispatch.waiting import Reporter, speak
from octapi.errors import ClusterClosed, MasterLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from octapi.dispatch.computation import Computation
    from octapi.dispatch.link import Link
    from octapi.dispatch.ticket import WorkerInfo


class Dispatcher(Core):
    """Owns the thread, and the link it makes there."""

    def __init__(self, make_link: Callable[[], Link]) -> None:
        super().__init__()
        self._make_link = make_link
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="octapi-dispatcher", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    # ---- the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._failure = error
            self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
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

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """Run ``function`` on the dispatcher's thread, soon."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is left to be told
            self._loop.call_soon_threadsafe(function, *args)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Run ``function`` on the dispatcher's thread after so many seconds, unless it has ended then."""
        loop = self._loop
        assert loop is not None

        def arm() -> None:
            loop.call_later(seconds, function)

        self.call(arm)

    def call_and_wait(self, function: Callable[..., None], *args: Any) -> None:
        """Run ``function`` on the dispatcher's thread, and return when it has run."""
        if threading.current_thread() is self._thread:
            function(*args)
            return
        done = threading.Event()

        def run() -> None:
            try:
                function(*args)
            finally:
                done.set()

        self.call(run)
        while not done.wait(0.1) and self._thread.is_alive():
            pass

    # ---- from any thread

    def open(
        self,
        computation: Computation,
        *,
        limits: Mapping[str, int] | None = None,
        listener: Listener | None = None,
        worker_facts: Mapping[str, dict[str, Any]] | None = None,
    ) -> Lane:
        """Make a computation known to the cluster, and return the queue for its jobs."""
        if self.is_closed:
            raise ClusterClosed("The cluster was shut down. Make a new one.")
        lane = Lane(self, computation, limits, listener or Listener())
        lane.worker_facts.update(worker_facts or {})
        self.call(self.add_lane, lane)
        return lane

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
        self.is_closed = True
        self.call(self._close)
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def _close(self) -> None:
        self.cancel_everything()
        if self._stop is not None:
            self._stop.set()

    def broken(self) -> MasterLost | None:
        """Return why no more jobs can run, if so."""
        return MasterLost(str(self.is_broken)) if self.is_broken is not None else None
