"""``octapi demo`` and ``octapi run``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

#: gives ``import dispy`` to scripts where the second distribution is not installed
SHIM = Path(__file__).parent.parent / "shim"


def environment(address: str = "") -> dict[str, str]:
    """Return the environment in which a script finds ``dispy`` and the cluster."""
    found = dict(os.environ)
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SHIM), found.get("PYTHONPATH"))))
    if address:
        found["OCTAPI_ADDRESS"] = address
    return found


def run(context: typer.Context, script: Annotated[str, typer.Argument(help="The script to run.")]) -> None:
    """Run an unchanged script: it finds the cluster, and ``import dispy`` works."""
    done = subprocess.run([sys.executable, script, *context.args], env=environment(), check=False)
    raise typer.Exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)


def demo(
    script: Annotated[str, typer.Argument(help="The script to run on the cluster.")] = "",
    workers: Annotated[int, typer.Option(help="Workers to start on this computer.")] = 2,
) -> None:
    """Start a real master and workers on loopback, run a script on them, and print who did what."""
    from octapi.embedded import EmbeddedCluster

    path = script or str(Path(__file__).parent.parent / "compute.py")
    print(f"Starting a master and {workers} workers on this computer ...", flush=True)
    with EmbeddedCluster(workers=workers) as embedded:
        print(f"Running {Path(path).name} on the cluster at {embedded.address}", flush=True)
        done = subprocess.run([sys.executable, path], env=environment(embedded.address), check=False)
    raise typer.Exit(done.returncode)
