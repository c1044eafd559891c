"""Nodes as dispy scripts see them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from octapi.protocol.outcome import WorkerInfo


class DispyNodeAvailInfo:
    """Free CPU in per cent, available memory and disk in bytes, free swap in per cent."""

    def __init__(self, cpu: float, memory: float, disk: float, swap: float) -> None:
        self.cpu = cpu
        self.memory = memory
        self.disk = disk
        self.swap = swap


class DispyNode:
    """One worker, with what it did for one cluster."""

    Initialized = 4
    Closed = 16
    AvailInfo = 17

    def __init__(self, info: WorkerInfo, cpus: int) -> None:
        self.ip_addr = info.address
        self.name = info.name
        self.cpus = cpus
        self.avail_cpus = info.slots
        self.busy = 0
        self.jobs_done = 0
        self.cpu_time = 0.0
        self.tx = 0
        self.rx = 0
        self.update_time = time.time()
        self.avail_info: DispyNodeAvailInfo | None = None


class ClusterStatus(NamedTuple):
    """The nodes of a cluster, and how many of its jobs are not final."""

    nodes: list[DispyNode]
    jobs_pending: int
