"""``octapi bench``."""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from octapi.cli.jobs import Address, AsJson
from octapi.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable


def nothing(number: int) -> int:
    """Do nothing."""
    return number


def spin(count: int) -> int:
    """Count, in pure Python."""
    total = 0
    for number in range(count):
        total += number
    return total


def measure(cluster: Cluster) -> dict[str, float]:
    """Measure a cluster: seconds for one job, jobs and items a second, and how well it shares out work."""
    list(cluster.map(nothing, range(1_000)))
    trips = [timed(lambda: cluster.submit(nothing, 1).result()) for _ in range(50)]
    count = 20_000
    submits = timed(lambda: [job.result() for job in [cluster.submit(nothing, n) for n in range(count)]])
    items = 200_000
    maps = timed(lambda: sum(cluster.map(nothing, range(items))))
    slots = sum(worker.slots for worker in cluster.workers())
    once = timed(lambda: list(cluster.map(spin, [3_000_000] * slots)))
    many = timed(lambda: list(cluster.map(spin, [3_000_000] * slots * 5)))
    return {
        "slots": slots,
        "round_trip_ms": 1000 * statistics.median(trips),
        "submitted_jobs_per_s": count / submits,
        "mapped_items_per_s": items / maps,
        "efficiency": 5 * once / many,
    }


def timed(work: Callable[[], Any]) -> float:
    """Return how long something takes, in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def bench(address: Address = "", as_json: AsJson = False) -> None:
    """Measure the cluster, or this computer's cores: about ten seconds."""
    if not as_json:
        print("Measuring ...", file=sys.stderr, flush=True)
    with Cluster(address or None, progress=False) as cluster:
        found = measure(cluster)
    if as_json:
        print(json.dumps(found))
        return
    print(f"slots                    {found['slots']:>12,.0f}")
    print(f"one job, there and back  {found['round_trip_ms']:>12,.1f} ms")
    print(f"submitted jobs           {found['submitted_jobs_per_s']:>12,.0f} a second")
    print(f"mapped items             {found['mapped_items_per_s']:>12,.0f} a second")
    print(f"efficiency of long jobs  {found['efficiency']:>12.2f}")
