"""A worker's door for monitoring systems."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING, Any

import psutil

from octapi import limits, metrics, scrapes
from octapi.tally import Tally
from octapi.worker import health, sensors

if TYPE_CHECKING:
    from octapi.worker.membership import Member
    from octapi.worker.station import Station


class Meter:
    """What a worker tells of its station."""

    def __init__(self, station: Station) -> None:
        self.started = time.time()
        self.station = station
        #: what the master told of the token of metrics; empty while nobody may read them
        self.key = ""
        #: what the master is told of the door; empty when there is none
        self.facts: dict[str, Any] = {}

    def state(self, member: Member) -> metrics.WorkerState:
        """Return what this worker knows of itself."""
        agent = self.station.agent
        here = health.measure()
        return metrics.WorkerState(
            name=member.identity.name,
            cluster=member.identity.cluster,
            python=platform.python_version(),
            started=self.started,
            is_connected=self.station.is_connected,
            slots=self.station.slots,
            busy=0 if agent is None else sum(agent.busy.values()),
            tally=Tally() if agent is None else agent.tally,
            memory_limit=limits.memory_total(psutil.virtual_memory().total),
            memory_free=here["memory"],
            cpu_free=here["cpu"],
            disk_free=here["disk"],
            temperature=sensors.temperature(),
            under_voltage=sensors.under_voltage(),
            certificate_end=member.identity.ends,
        )


async def serve(meter: Meter, member: Member, where: str, node_exporter: str, log: Any) -> scrapes.Door:
    """Open the door at ``where`` (HOST:PORT), and the way through it to the node_exporter, if there is one.

    Raises :exc:`SettingsError` when one of them is no place, or taken.
    """

    async def own() -> scrapes.Answer:
        return scrapes.Answer(metrics.worker(meter.state(member)).encode(), metrics.CONTENT_TYPE)

    async def node() -> scrapes.Answer:
        return await scrapes.node(scrapes.place(node_exporter))

    routes = {"/metrics": own}
    if node_exporter:
        scrapes.place(node_exporter)
        routes["/node"] = node
    sock = scrapes.bound(where)
    meter.facts = scrapes.facts_of(sock, has_node=bool(node_exporter))
    door = scrapes.Door(routes, lambda: meter.key, log)
    await door.listen(sock, member.trust.showing())
    return door
