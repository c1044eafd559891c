"""``octapi demo`` and ``octapi run``."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Annotated

import typer


def run(
    context: typer.Context,
    script: Annotated[str, typer.Argument(help="The script to run.")],
) -> None:
    """Run a script so that it finds the cluster."""
    done = subprocess.run([sys.executable, script, *context.args], check=False)
    raise typer.Exit(done.returncode)


def demo(
    workers: Annotated[int, typer.Option(help="Workers to start on this computer.")] = 2,
    jobs: Annotated[int, typer.Option(help="Jobs to run.")] = 10,
) -> None:
    """Start a real master and workers on loopback, run jobs on them, and print who did what."""
    from octapi.cluster import Cluster
    from octapi.embedded import EmbeddedCluster

    print(f"Starting a master and {workers} workers on this computer ...", flush=True)
    with EmbeddedCluster(workers=workers) as embedded, Cluster(embedded.address) as cluster:
        found = [cluster.submit(count_primes, 20_000 + number) for number in range(jobs)]
        for number, job in enumerate(found):
            primes = job.result()
            print(f"{job.worker} executed job {number}: {primes} primes", flush=True)
        shares = Counter(job.worker for job in found)
    print("Who did what: " + ", ".join(f"{name} {count} jobs" for name, count in sorted(shares.items(), key=str)))


def count_primes(limit: int) -> int:
    """Count the primes below ``limit`` by trial division."""
    return sum(all(number % d for d in range(2, int(number**0.5) + 1)) for number in range(2, limit))
