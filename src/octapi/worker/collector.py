"""A worker's door for monitoring systems."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING, Any

from octapi.device import sensors
from octapi.protocol.small_http import Answer
from octapi.telemetry import exporter, exposition
from octapi.telemetry.counters import JobCounters

if TYPE_CHECKING:
    from octapi.worker.certificate_renewer import CertificateRenewer
    from octapi.worker.resumable_agent import ResumableAgent


class WorkerCollector:
    """What a worker tells of its station."""

    def __init__(self, resumable: ResumableAgent) -> None:
        self.started = time.time()
        self.resumable = resumable
        #: what the master told of the token of metrics; empty while nobody may read them
        self.key = ""
        #: what the master is told of the door; empty when there is none
        self.facts: dict[str, Any] = {}

    def state(self, member: CertificateRenewer) -> exposition.WorkerState:
        """Return what this worker knows of itself."""
        agent = self.resumable.agent
        here = self.resumable.sensors.read()
        return exposition.WorkerState(
            name=member.identity.name,
            cluster=member.identity.cluster,
            python=platform.python_version(),
            started=self.started,
            is_connected=self.resumable.is_connected,
            slots=self.resumable.slots,
            busy=0 if agent is None else sum(agent.busy.values()),
            tally=JobCounters() if agent is None else agent.tally,
            memory_limit=sensors.memory_total(),
            memory_free=here["memory"],
            cpu_free=here["cpu"],
            disk_free=here["disk"],
            temperature=here.get("temperature"),
            under_voltage=here.get("undervoltage"),
            certificate_end=member.identity.ends,
        )


async def serve(
    meter: WorkerCollector, member: CertificateRenewer, where: str, node_exporter: str, log: Any
) -> exporter.MetricsServer:
    """Open the door at ``where`` (HOST:PORT), and the way through it to the node_exporter, if there is one.

    Raises :exc:`SettingsError` when one of them is no place, or taken.
    """

    async def own() -> Answer:
        return Answer(exposition.worker(meter.state(member)).encode(), exposition.CONTENT_TYPE)

    async def node() -> Answer:
        return await exporter.node(exporter.place(node_exporter))

    routes = {"/metrics": own}
    if node_exporter:
        exporter.place(node_exporter)
        routes["/node"] = node
    sock = exporter.bound(where)
    meter.facts = exporter.facts_of(sock, has_node=bool(node_exporter))
    door = exporter.MetricsServer(routes, lambda: meter.key, log)
    await door.listen(sock, member.trust.showing())
    return door
