"""Dask's scheduler and worker as OctaPi runs them: quiet, and without Dask's own web server.

Dask starts a web server on every node, also without a dashboard; OctaPi leaves no port open that
it does not need, so these classes do not let it listen.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

from distributed import Worker
from distributed.http.routing import RoutingApplication
from distributed.scheduler import Scheduler
from tornado.httpserver import HTTPServer


class NoWeb:
    """Makes the web server that Dask closes at its end, and does not open it."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Listen nowhere."""
        self.http_application = RoutingApplication([])
        self.http_server = HTTPServer(self.http_application)


class QuietScheduler(NoWeb, Scheduler):  # type: ignore[misc]
    """Dask's scheduler without a web server."""


class QuietWorker(NoWeb, Worker):  # type: ignore[misc]
    """Dask's worker without a web server."""


def quiet_logs() -> None:
    """Let Dask's own log say only what goes wrong; OctaPi says who comes and goes."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    # a worker that is told to stop breaks off its own heartbeat, and calls that an error
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)


async def until_signalled() -> None:
    """Wait for SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
