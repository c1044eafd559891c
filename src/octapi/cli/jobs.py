"""``octapi jobs`` and ``octapi bench``."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octapi.cli import tables
from octapi.errors import OctapiError
from octapi.protocol import client_messages as said

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.client.endpoint import MasterEndpoint
    from octapi.cluster import Cluster

Address = Annotated[str, typer.Option(metavar="HOST:PORT", help="host:port of the master.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

HEAD = ("No.", "Script", "User", "Functions", "Waiting", "Running", "Done", "Failed", "For")

jobs_app = typer.Typer(
    help="List the scripts that use the cluster, or fetch what became of jobs.", invoke_without_command=True
)


def ask_master(address: str, question: Any) -> tuple[Any, MasterEndpoint]:
    """Ask the master one of :mod:`octapi.protocol.client_messages`, and return its answer and the way to it."""
    import asyncio

    from octapi.client.connect import any_way, by_way
    from octapi.client.endpoint import ask
    from octapi.client.remote import hello
    from octapi.settings import Settings

    settings = Settings.load()
    way = any_way(address, settings)
    patience_s = max(settings.patience_s, 0.1)
    return by_way(way, lambda found: asyncio.run(ask(found, patience_s, hello(), question))), way


@jobs_app.callback()
def jobs(
    context: typer.Context,
    address: Address = "",
    stop: Annotated[int, typer.Option(metavar="NUMBER", help="Stop the jobs of the script with this number.")] = 0,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the scripts that use the cluster and how far their jobs are, or stop one."""
    if context.invoked_subcommand:
        return
    if watch:
        from octapi.cli import live_view as watching

        watching.follow(address, watching.job_rows, watching.JOBS, as_json)
        return
    if stop:
        if not ask_master(address, said.Stop(stop))[0]:
            raise OctapiError(f"There is no script number {stop}. 'octapi jobs' lists those there are.")
        print(f"The jobs of script {stop} are being stopped.")
        return
    rows, way = ask_master(address, said.Jobs())
    if as_json:
        print(json.dumps(rows))
    else:
        print_rows(rows, way.place)


def print_rows(rows: list[dict[str, Any]], place: str) -> None:
    """Print scripts as a table."""
    if not rows:
        print(f"No script uses the cluster at {place} now.")
        return
    found = []
    for row in rows:
        name = f"{row['script']} ({row['host']})" + (" gone" if row["is_detached"] else "")
        counts = [f"{row.get(key) or 0:,}" for key in ("waiting", "running", "done", "failed")]
        functions = ", ".join(row.get("functions") or [])
        found.append((row["number"], name, row["user"], functions, *counts, f"{time.time() - row['since']:.0f} s"))
    tables.show(HEAD, found, whole=("No.",))


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
