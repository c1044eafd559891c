"""The master: Dask's scheduler with the gateway in its loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask

from octapi.dasknode import QuietScheduler, quiet_logs, until_signalled
from octapi.master.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable

#: Dask's own settings for a master; no dashboard, and workers that fall silent are lost after 15 s
DASK_SETTINGS = {
    "distributed.scheduler.worker-ttl": "15s",
    "distributed.admin.tick.limit": "30s",
    "distributed.scheduler.worker-saturation": 1.1,
    # Dask keeps this many sent messages for its debugger, and ours hold whole batches
    "distributed.admin.low-level-log-length": 4,
}


async def serve(host: str, port: int, dask_port: int, on_ready: Callable[[int, int], None]) -> None:
    """Run a master until SIGINT or SIGTERM; ``on_ready(port, dask_port)`` is called once it listens.

    Raises OSError when a port is taken.
    """
    quiet_logs()
    with dask.config.set(DASK_SETTINGS):
        scheduler = QuietScheduler(host=host, port=dask_port, dashboard=False, protocol="tcp")
        async with scheduler:
            gateway = Gateway(scheduler)
            found = await gateway.listen(host, port)
            on_ready(found, scheduler.port)
            await until_signalled()
            await gateway.stop()
