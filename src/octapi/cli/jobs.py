"""``octapi jobs`` and ``octapi bench``."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octapi.errors import MasterNotFound, OctapiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.cluster import Cluster

Address = Annotated[str, typer.Option(help="host:port of the master.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def master_address(address: str) -> str:
    """Return the address given or set, or where a master was last.  Raises :exc:`MasterNotFound` for none."""
    from octapi.connect import last_master
    from octapi.dispatch.remote import DEFAULT_PORT
    from octapi.settings import Settings

    found = address or Settings.load().address or last_master() or f"127.0.0.1:{DEFAULT_PORT}"
    if found == "local":
        raise MasterNotFound("The address is 'local', where there is no master. Give one with --address host:port.")
    return found


def jobs(
    address: Address = "",
    stop: Annotated[int, typer.Option(help="Stop the jobs of the script with this number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List the scripts that use the cluster and how far their jobs are, or stop one."""
    import asyncio

    from octapi.dispatch.remote import ask
    from octapi.settings import Settings

    place, patience = master_address(address), Settings.load().patience_s
    if stop:
        if not asyncio.run(ask(place, patience, "stop", stop)):
            raise OctapiError(f"There is no script number {stop}. 'octapi jobs' lists those there are.")
        print(f"The jobs of script {stop} are being stopped.")
        return
    rows = asyncio.run(ask(place, patience, "jobs"))
    if as_json:
        print(json.dumps(rows))
    else:
        print_rows(rows, place)


def print_rows(rows: list[dict[str, Any]], place: str) -> None:
    """Print scripts as a table."""
    from rich.console import Console
    from rich.table import Table

    if not rows:
        print(f"No script uses the cluster at {place} now.")
        return
    table = Table("No.", "Script", "User", "Functions", "Waiting", "Running", "Done", "For")
    for row in rows:
        name = f"{row['script']} ({row['host']})" + (" gone" if row["is_detached"] else "")
        counts = [f"{row.get(key) or 0:,}" for key in ("waiting", "running", "done")]
        functions = ", ".join(row.get("functions") or [])
        table.add_row(str(row["number"]), name, row["user"], functions, *counts, f"{time.time() - row['since']:.0f} s")
    Console().print(table)


# ---- bench


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
    import statistics

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
    from octapi.cluster import Cluster

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
