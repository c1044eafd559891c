"""Dask's scheduler and worker as OctaPi runs them: quiet, and without Dask's own web server.

Dask starts a web server on every node, also without a dashboard; OctaPi leaves no port open that
it does not need, so these classes do not let it listen.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Client, Worker
from distributed.http.routing import RoutingApplication
from distributed.scheduler import Scheduler
from distributed.utils import in_async_call
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket

from octapi.errors import RoleRefused

if TYPE_CHECKING:
    from distributed.core import Server

    from octapi.trust.daskcomm import Guard


class NoWeb:
    """Makes the web server that Dask closes at its end, and does not open it."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Listen nowhere."""
        self.http_application = RoutingApplication([])
        self.http_server = HTTPServer(self.http_application)


class QuietScheduler(NoWeb, Scheduler):  # type: ignore[misc]
    """Dask's scheduler without a web server; a worker may come back before its last connection is known to be dead."""

    #: who is who, in a cluster with certificates
    guard: Guard | None = None

    def may_replace(self, name: str) -> bool:
        """Say whether who comes with the name of a worker that is here is that worker."""
        return False

    async def add_worker(self, comm: Any, *, address: str, name: str, **facts: Any) -> None:
        """Let a worker in; Dask would refuse one whose old connection still seems to stand."""
        old = self.aliases.get(name)
        if old is not None and self.may_replace(name):
            self.stream_comms[old].abort()
            await self.remove_worker(old, stimulus_id="octapi-again", close=False)
        try:
            await super().add_worker(comm, address=address, name=name, **facts)
        finally:
            self.free(address)

    def free(self, address: str) -> None:
        """Let others register at an address again whose worker is not here: it left, or was never let in."""
        if self.guard is not None and address not in self.workers:
            self.guard.bearers.forget(address)

    async def handle_worker(self, comm: Any, worker: str) -> None:
        """Listen to a worker until its connection ends; what replaced it stays."""
        stream = self.stream_comms[worker]
        stream.start(comm)
        try:
            await self.handle_stream(comm=comm, extra={"worker": worker})
        finally:
            if self.stream_comms.get(worker) is stream:
                stream.abort()
                await self.remove_worker(worker, stimulus_id="octapi-connection-ended")


class WatchedScheduler(QuietScheduler):
    """The same with Dask's own dashboard, on a socket that only this account can open; the page stands before it."""

    dashboard_place = ""

    def start_http_server(self, routes: Any, *_: Any, **__: Any) -> None:
        """Listen on a socket of the file system."""
        self.http_application = RoutingApplication(routes)
        self.http_server = HTTPServer(self.http_application)
        self.http_server.address, self.http_server.port = "localhost", 80  # Dask makes links of them, which nobody sees
        self.dashboard_place = str(Path(tempfile.mkdtemp(prefix="octapi-dask-")) / "dashboard.sock")
        self.http_server.add_socket(bind_unix_socket(self.dashboard_place, 0o600))

    async def close(self, *arguments: Any, **options: Any) -> None:
        """End, and leave no file behind."""
        await super().close(*arguments, **options)
        shutil.rmtree(Path(self.dashboard_place).parent, ignore_errors=True)


class NestedClient(Client):  # type: ignore[misc]
    """What a Dask task gets when it asks for a client: a worker must not submit work, so it refuses to send any.

    Libraries make one in every task without using it, as joblib does, so it can be made.
    """

    async def _start(self, *_: Any, **__: Any) -> NestedClient:
        self.scheduler = Nobody()
        self.status = "running"
        return self

    def _send_to_scheduler(self, _: Any) -> None:
        raise RoleRefused(Nobody.TEXT)

    async def _close(self, *_: Any, **__: Any) -> None:
        self.status = "closed"


class Nobody:
    """Stands where the scheduler would be."""

    TEXT = "A Dask task asked to submit more tasks; in a secured cluster workers may not. Submit them from the script."
    address = "nobody"

    def __getattr__(self, _: str) -> Any:
        raise RoleRefused(self.TEXT)


class QuietWorker(NoWeb, Worker):  # type: ignore[misc]
    """Dask's worker without a web server."""

    _nested: NestedClient | None = None

    async def knows_shuffle(self, shuffle: str, run: int) -> bool:
        """Say whether this worker takes part in a run of a shuffle; Dask asks the scheduler when it is news here."""
        try:
            await self.extensions["shuffle"]._get_shuffle_run(shuffle, run)
        except Exception:  # whatever Dask raises for a shuffle that is unknown, closed or of another run
            return False
        return True

    def _get_client(self, timeout: float | None = None) -> Any:
        if not self.address.startswith("octapi"):
            return super()._get_client(timeout)
        if self._nested is None:
            self._nested = NestedClient(
                self.scheduler.address,
                loop=self.loop,
                set_as_default=False,
                asynchronous=in_async_call(self.loop),
                name="worker",
            )
        return self._nested


def guarded(guard: Guard | None) -> dict[str, Any]:
    """Return the arguments with which Dask's parts speak TLS under roles; none for a cluster without encryption."""
    if guard is None:
        return {"protocol": "tcp"}
    from octapi.trust import daskcomm

    return {"protocol": daskcomm.SCHEME, "security": daskcomm.GuardedSecurity(guard)}


def answer_refusals(server: Server) -> None:
    """Let a Dask server tell callers why their request was refused."""
    from octapi.trust import daskcomm, policy

    server.handlers[policy.REFUSED_OP] = daskcomm.tell_refused


def quiet_logs() -> None:
    """Let Dask's own log say only what goes wrong; OctaPi says who comes and goes."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    # a worker that is told to stop breaks off its own heartbeat, and calls that an error
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
    for handler in logging.getLogger("distributed").handlers:
        handler.addFilter(is_mishap)


def is_mishap(record: logging.LogRecord) -> bool:
    """Say whether a record of Dask's log tells of something gone wrong: a task that is broken off at the end is not."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError)
