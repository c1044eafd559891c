"""What the master counts, and its door for monitoring systems."""

from __future__ import annotations

import json
import platform
import time
from typing import TYPE_CHECKING, Any

from octapi.protocol.small_http import Answer
from octapi.protocol.worker_messages import Dropped, End, Results
from octapi.telemetry import exporter, exposition
from octapi.telemetry.counters import JobCounters

if TYPE_CHECKING:
    import socket

    from octapi.master.gateway.gateway import Gateway
    from octapi.master.gateway.placement import WorkerRecord
    from octapi.protocol.specs import BatchSpec
    from octapi.protocol.worker_messages import OfBatch
    from octapi.trust.contexts import Trust


class MasterCollector:
    """Counts what goes through a gateway."""

    def __init__(self) -> None:
        self.started = time.time()
        self.tally = JobCounters()
        self.batches = 0
        self.lost = 0
        self.bytes_in = 0
        self.bytes_out = 0
        #: refused at the door of the authority, as its process tells, and at the gateway
        self.refused_joins = 0
        self.refused = 0
        #: what is known of the token of metrics; empty while nobody may read them
        self.key = ""

    def batch(self, spec: BatchSpec) -> None:
        """Count a batch that came from a client."""
        self.batches += 1
        self.bytes_in += len(spec.get("data") or b"")

    def news(self, news: OfBatch) -> None:
        """Count what a worker tells of a batch, whose client may be gone by now."""
        if isinstance(news, Results):
            self.bytes_out += len(news.records)
        elif isinstance(news, End | Dropped):
            self.tally.end(news.reason, news.stop, news.info)


def text(gateway: Gateway) -> str:
    """Return the metrics of a master, as Prometheus reads them."""
    return exposition.master(state(gateway))


def state(gateway: Gateway) -> exposition.MasterState:
    """Return what a master knows of itself."""
    meter, clients = gateway.observers.meter, list(gateway.clients)
    guard = gateway.guard
    return exposition.MasterState(
        cluster="" if guard is None else guard.trust.identity.cluster,
        python=platform.python_version(),
        started=meter.started,
        workers=[row(agent) for agent in gateway.workers],
        clients=sum(not client.is_away for client in clients),
        detached=sum(client.is_away for client in clients),
        waiting=sum(client.left()[0] for client in clients),
        running=sum(client.left()[1] for client in clients),
        tally=meter.tally,
        batches=meter.batches,
        batches_waiting=sum(len(client.waiting) for client in clients),
        batches_lost=meter.lost,
        bytes_in=meter.bytes_in,
        bytes_out=meter.bytes_out,
        refused=meter.refused + meter.refused_joins,
        certificates=[(one["role"], one["name"], one["ends"]) for one in gateway.queries.roster],
    )


def row(agent: WorkerRecord) -> exposition.WorkerRow:
    """Return one worker."""
    health = agent.info["health"]
    busy = min(len(agent.held), agent.slots)
    return exposition.WorkerRow(agent.name, agent.slots, busy, measured(health, "cpu"), measured(health, "memory"))


def measured(health: dict[str, Any], key: str) -> float | None:
    """Return a measure that a worker told; None if it is no number."""
    found = health.get(key)
    return float(found) if isinstance(found, int | float) else None


async def serve(gateway: Gateway, trust: Trust, sock: socket.socket, log: Any) -> exporter.MetricsServer:
    """Open the door for a monitoring system on a bound socket."""

    async def own() -> Answer:
        return Answer(text(gateway).encode(), exposition.CONTENT_TYPE)

    async def discovery() -> Answer:
        found = exposition.discovery(agent.info for agent in gateway.workers)
        return Answer(json.dumps(found).encode(), "application/json")

    door = exporter.MetricsServer({"/metrics": own, "/discovery": discovery}, lambda: gateway.observers.meter.key, log)
    await door.listen(sock, trust.showing())
    return door
