"""What master and workers tell a monitoring system: the text that Prometheus reads, made from plain facts.

The format is Prometheus's text exposition format 0.0.4.  It is written here by hand because the usual library keeps
its numbers in module-level registries, which two clusters in one process would share, and takes 4.6 MB of a small
board's memory and 40 ms to import, against 1 MB and 7 ms (measured on x86_64).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from octapi import _version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from octapi.telemetry.counters import JobCounters

#: a host's name or address as a target may hold it
ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:_-]{0,252}")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GAUGE, COUNTER = "gauge", "counter"

Sample = tuple["Mapping[str, str]", float]


class Family(NamedTuple):
    """One metric: its name, its kind, a sentence on it, and its values by labels."""

    name: str
    kind: str
    help: str
    samples: list[Sample]


class WorkerRow(NamedTuple):
    """A worker as its master sees it: free CPU in per cent, memory in bytes."""

    name: str
    slots: int
    busy: int
    cpu_free: float | None
    memory_free: float | None


class MasterState(NamedTuple):
    """What a master knows of itself; times in epoch seconds.

    ``certificates`` are ``(role, name, end)`` of all members.  ``waiting`` and ``running`` are jobs as the scripts tell
    them, ``bytes_in`` the arguments that came from scripts, ``bytes_out`` the results that went back.
    """

    cluster: str
    python: str
    started: float
    workers: list[WorkerRow]
    clients: int
    detached: int
    waiting: int
    running: int
    tally: JobCounters
    batches: int
    batches_waiting: int
    batches_lost: int
    bytes_in: int
    bytes_out: int
    refused: int
    certificates: list[tuple[str, str, float]]


class WorkerState(NamedTuple):
    """What a worker knows of itself; times in epoch seconds, memory in bytes, temperature in degrees Celsius.

    None is what this device cannot tell.
    """

    name: str
    cluster: str
    python: str
    started: float
    is_connected: bool
    slots: int
    busy: int
    tally: JobCounters
    memory_limit: int
    memory_free: float
    cpu_free: float
    disk_free: float
    temperature: float | None
    under_voltage: float | None
    certificate_end: float


# ---- the format


def text(families: Iterable[Family]) -> str:
    """Write metrics as Prometheus reads them; those without a value are left out."""
    return "".join(line + "\n" for family in families if family.samples for line in lines(family))


def lines(family: Family) -> Iterator[str]:
    """Write one metric."""
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in family.samples:
        inside = ",".join(f'{key}="{escaped(found)}"' for key, found in labels.items())
        yield f"{family.name}{{{inside}}} {number(value)}" if inside else f"{family.name} {number(value)}"


def escaped(found: str) -> str:
    """Write the value of a label."""
    return found.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    """Write a value: whole numbers whole, others with all their digits."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def one(name: str, kind: str, sentence: str, value: float | None) -> Family:
    """Make a metric with one value; without one if it is not known."""
    return Family(name, kind, sentence, [] if value is None else [({}, value)])


# ---- what is told


def master(state: MasterState) -> str:
    """Return a master's metrics."""
    return text([*of_master(state), *of_jobs("octapi", state.tally), *of_workers(state.workers)])


def of_master(state: MasterState) -> Iterator[Family]:
    """Return what a master tells of itself."""
    facts = {"version": _version.__version__, "python": state.python, "cluster": state.cluster, "role": "master"}
    yield Family("octapi_info", GAUGE, "Release of OctaPi and Python, and which cluster this is.", [(facts, 1)])
    yield one("octapi_start_time_seconds", GAUGE, "When this master started, in epoch seconds.", state.started)
    yield one("octapi_workers", GAUGE, "Workers that are here.", len(state.workers))
    yield one("octapi_slots", GAUGE, "Slots of all workers.", sum(row.slots for row in state.workers))
    yield one("octapi_slots_busy", GAUGE, "Slots that have work.", sum(row.busy for row in state.workers))
    yield one("octapi_clients", GAUGE, "Scripts and logins that are connected.", state.clients)
    yield one("octapi_clients_detached", GAUGE, "Scripts that are gone while their jobs go on.", state.detached)
    yield one("octapi_jobs_waiting", GAUGE, "Jobs that wait, as their scripts tell.", state.waiting)
    yield one("octapi_jobs_running", GAUGE, "Jobs on their way or running, as their scripts tell.", state.running)
    yield one("octapi_batches_total", COUNTER, "Batches of jobs that came from scripts.", state.batches)
    yield one("octapi_batches_waiting", GAUGE, "Batches at the master that no worker has yet.", state.batches_waiting)
    yield one("octapi_batches_lost_total", COUNTER, "Batches whose worker was lost.", state.batches_lost)
    yield one("octapi_argument_bytes_total", COUNTER, "Bytes of arguments that came from scripts.", state.bytes_in)
    yield one("octapi_result_bytes_total", COUNTER, "Bytes of results that went to scripts.", state.bytes_out)
    yield one("octapi_refused_total", COUNTER, "Connections and joins that were refused.", state.refused)
    ends: list[Sample] = [({"role": role, "name": name}, end) for role, name, end in state.certificates]
    yield Family("octapi_certificate_end_seconds", GAUGE, "When a member's certificate ends, in epoch seconds.", ends)


def of_workers(rows: list[WorkerRow]) -> Iterator[Family]:
    """Return what a master tells of each worker."""

    def each(name: str, sentence: str, values: Iterable[float | None]) -> Family:
        pairs = zip(rows, values, strict=True)
        return Family(name, GAUGE, sentence, [({"worker": row.name}, v) for row, v in pairs if v is not None])

    yield each("octapi_member_slots", "Slots of a worker that is here.", (row.slots for row in rows))
    yield each("octapi_member_slots_busy", "Slots of a worker that have work.", (row.busy for row in rows))
    yield each("octapi_member_cpu_free_percent", "Free CPU of a worker.", (row.cpu_free for row in rows))
    yield each("octapi_member_memory_free_bytes", "Memory that a worker has left.", (row.memory_free for row in rows))


def of_jobs(prefix: str, tally: JobCounters) -> Iterator[Family]:
    """Return how jobs ended."""
    yield one(f"{prefix}_jobs_done_total", COUNTER, "Jobs that returned.", tally.done)
    yield one(f"{prefix}_jobs_failed_total", COUNTER, "Jobs that ended in an error of their own.", tally.failed)
    killed: list[Sample] = [({"cause": cause}, count) for cause, count in tally.killed.items()]
    yield Family(f"{prefix}_jobs_killed_total", COUNTER, "Jobs whose process ended before them, by cause.", killed)


def worker(state: WorkerState) -> str:
    """Return a worker's metrics."""
    return text([*of_worker(state), *of_jobs("octapi_worker", state.tally)])


def of_worker(state: WorkerState) -> Iterator[Family]:
    """Return what a worker tells of itself."""
    facts = {"version": _version.__version__, "python": state.python, "cluster": state.cluster, "role": "worker"}
    yield Family("octapi_info", GAUGE, "Release of OctaPi and Python, and which cluster this is.", [(facts, 1)])
    gauges: list[tuple[str, str, float | None]] = [
        ("start_time_seconds", "When this worker started, in epoch seconds.", state.started),
        ("connected", "1 while it works for its master, 0 while it looks for it.", state.is_connected),
        ("slots", "Jobs that it runs at once.", state.slots),
        ("slots_busy", "Slots that run a job now.", state.busy),
        ("memory_limit_bytes", "Memory of this device or container.", state.memory_limit),
        ("memory_free_bytes", "Memory that can still be taken.", state.memory_free),
        ("cpu_free_percent", "Free CPU.", state.cpu_free),
        ("disk_free_bytes", "Free room on the disk.", state.disk_free),
        ("temperature_celsius", "Temperature of the hottest sensor.", state.temperature),
        ("under_voltage", "1 while the power supply is too weak.", state.under_voltage),
        ("certificate_end_seconds", "When its certificate ends, in epoch seconds.", state.certificate_end),
    ]
    for name, sentence, value in gauges:
        yield one(f"octapi_worker_{name}", GAUGE, sentence, value)


# ---- where Prometheus finds it


def discovery(workers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the workers' doors for Prometheus's HTTP service discovery, from what workers say of themselves.

    Each is told once for its own metrics, and once more if a node_exporter stands behind it.  A worker without such a
    exporter, or with one that makes no sense, is left out.
    """
    found = []
    for facts in workers:
        exporter = facts.get("metrics")
        port = exporter.get("port") if isinstance(exporter, dict) else None
        if not isinstance(port, int) or not 0 < port < 1 << 16:
            continue
        assert isinstance(exporter, dict)
        host = exporter.get("host") or facts["address"]
        if not isinstance(host, str) or not ADDRESS.fullmatch(host):
            continue
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        labels = {"worker": facts["name"], "slots": str(facts["slots"])}
        found.append({"targets": [target], "labels": labels | {"job": "octapi-worker", "__metrics_path__": "/metrics"}})
        if exporter.get("node"):
            found.append({"targets": [target], "labels": labels | {"job": "node", "__metrics_path__": "/node"}})
    return found
