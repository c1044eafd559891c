"""The scheduler's process: Dask's scheduler with the gateway in its loop.

A secured master's scheduler is started by the process that holds the authority's key, gets its identity and all news
over its stdin, and reports over its stdout (:mod:`octapi.protocol.stdio_json`).  It never sees that key, for clients'
tasks are unpickled here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask

from octapi.device.accounts import become
from octapi.device.signals import until_signalled
from octapi.engine.dask_nodes import QuietScheduler, WatchedScheduler, answer_refusals, guarded, quiet_logs
from octapi.master.gateway import collector
from octapi.master.gateway.gateway import Gateway
from octapi.master.gateway.listener import Listener
from octapi.master.gateway.registry import RunRegistry
from octapi.master.gateway.submissions import Pipe
from octapi.master.gateway.trust_updates import TrustUpdates
from octapi.protocol import stdio_json, wire
from octapi.settings import Settings
from octapi.telemetry import heartbeat, logs
from octapi.trust import policy
from octapi.trust.contexts import Clock, Trust
from octapi.trust.identity import Identity
from octapi.trust.nested_clients import NestedClients

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.engine.guard import Guard

log = logging.getLogger("octapi.master.gateway")

#: Dask's own settings for a master; no dashboard, and the gateway says which workers are silent, by a clock that is
#: never set
DASK_SETTINGS = {
    "distributed.scheduler.worker-ttl": None,
    "distributed.admin.tick.limit": "30s",
    "distributed.scheduler.worker-saturation": 1.1,
    # Dask keeps this many sent messages for its debugger, and ours hold whole batches
    "distributed.admin.low-level-log-length": 4,
}


async def serve(
    host: str,
    port: int,
    dask_port: int,
    on_ready: Callable[[int, int], None],
    guard: Guard | None = None,
    follow: Callable[[Gateway], Any] | None = None,
    state: Path | None = None,
    settings: Settings | None = None,
    on_dashboard: Callable[[str], None] | None = None,
) -> None:
    """Run a master until SIGINT or SIGTERM; ``on_ready(port, dask_port)`` is called once it listens.

    Without a ``guard`` nothing is encrypted.  ``follow(gateway)`` is awaited beside it, and its end is
    the master's end.  ``on_dashboard(place)`` is told where Dask's dashboard is, which is off without it.  ``state`` is
    the directory of what survives the master.  Raises OSError when a port is taken.
    """
    quiet_logs()
    logs.adopt("distributed")
    with dask.config.set(DASK_SETTINGS):
        kind = QuietScheduler if on_dashboard is None else WatchedScheduler
        web = {"dashboard": on_dashboard is not None, "http_prefix": "/dask"}
        scheduler = kind(host=host, port=dask_port, **web, **guarded(guard))
        if guard is not None:
            answer_refusals(scheduler)
            guard.results_limit = wire.frame_limit((settings or Settings()).largest_mb)
            guard.nested = NestedClients(
                guard.address_owners, lambda peer: scheduler.has_tasks(guard.address_owners.addresses({peer.ident}))
            )
        async with scheduler:
            now = time.time if guard is None else guard.trust.clock.now
            registry = RunRegistry(state, now, settings)
            gateway = Gateway(scheduler, guard, registry)
            gateway.observers.subscriptions.start()
            reception = Listener(gateway, None if guard is None else guard.trust)
            found = await reception.listen(host, port)
            if on_dashboard is not None:
                on_dashboard(scheduler.dashboard_place)
            on_ready(found, scheduler.port)
            ends = [asyncio.create_task(until_signalled())]
            if follow is not None:
                ends.append(asyncio.create_task(follow(gateway)))
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            reception.close()
            await gateway.stop()
            for task in done:
                task.result()


async def tell_alive() -> None:
    """Tell the process that started this one that its loop turns."""
    while True:
        stdio_json.tell({"kind": "alive"})
        await asyncio.sleep(heartbeat.PERIOD_S)


def refusing(gateway: Gateway) -> Callable[[str], None]:
    """Return what counts and logs those who are sent away."""

    def refused(text: str) -> None:
        gateway.observers.meter.refused += 1
        log.warning(f"refused {text}")

    return refused


def main() -> None:
    """Be the scheduler of a secured master, as the process on the other end of stdin says."""
    start = stdio_json.read_first()
    stdio_json.take_path(start)
    logs.set_up("octapi master", logs.options_of(start))
    from octapi.engine.guard import Guard

    clock = Clock()
    clock.set(start["time"])
    trust = Trust(
        Identity.from_json(start["identity"]),
        clock,
        start["removed"],
        lambda text: log.warning(f"refused {text}"),
    )
    guard = Guard(trust, policy.SCHEDULER_SIDE)
    become(start.get("account"))
    state = Path(start["state"]) if start.get("state") else None
    settings = Settings(**start.get("settings", {}))

    async def follow(gateway: Gateway) -> None:
        gateway.on_workers = lambda rows: stdio_json.tell({"kind": "workers", "rows": rows})
        news, pipe = TrustUpdates(gateway, guard), Pipe(stdio_json.tell)
        news.take(start)
        trust.on_refused = refusing(gateway)
        if state is not None:
            gateway.submissions.ask = pipe.ask

        def hear(message: dict[str, Any]) -> None:
            kinds = {"answer": pipe.hear, "run": gateway.submissions.hear}
            kinds.get(message.get("kind", ""), news.take)(message)

        alive = asyncio.create_task(tell_alive())
        door = None
        if start.get("metrics_fd") is not None:
            door = await collector.serve(gateway, trust, socket.socket(fileno=start["metrics_fd"]), log.warning)
        try:
            await stdio_json.follow(await stdio_json.stdin(), hear, log.warning)
        finally:
            alive.cancel()
            if door is not None:
                door.close()

    found = {"kind": "ready", "dashboard": ""}

    def ready(port: int, dask_port: int) -> None:
        stdio_json.tell(found | {"port": port, "dask_port": dask_port})

    where = (start["host"], start["port"], start["dask_port"])
    dashboard = (lambda place: found.update(dashboard=place)) if start.get("dashboard") else None
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(serve(*where, ready, guard, follow, state, settings, dashboard))


if __name__ == "__main__":
    main()
