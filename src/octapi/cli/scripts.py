"""``octapi demo`` and ``octapi run``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from octapi.errors import OctapiError

if TYPE_CHECKING:
    from octapi.page.beside import Opened

#: gives ``import dispy`` to scripts where the second distribution is not installed
SHIM = Path(__file__).parent.parent / "shim"


def environment(address: str = "", shows: bool = False) -> dict[str, str]:
    """Return the environment in which a script finds ``dispy`` and the cluster, and ``shows`` how far it is."""
    found = dict(os.environ)
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SHIM), found.get("PYTHONPATH"))))
    if shows:
        found["OCTAPI_SHOW"] = "1"
    if address:
        found["OCTAPI_ADDRESS"] = address
    return found


def run(context: typer.Context, script: Annotated[str, typer.Argument(help="The script to run.")]) -> None:
    """Run an unchanged script: it finds the cluster, and ``import dispy`` works."""
    raise typer.Exit(run_script([script, *context.args], environment(shows=True)))


def run_script(command: list[str], env: dict[str, str]) -> int:
    """Run a script to its end and return its exit code; Ctrl-C is the script's own affair."""
    if not Path(command[0]).is_file():
        raise OctapiError(f"There is no script {command[0]}.")
    with subprocess.Popen([sys.executable, *command], env=env) as process:
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:  # the script has it too, and ends in its own way
                continue
    return code if code >= 0 else 128 - code


def open_page(address: str) -> Opened:
    """Open the page of a cluster, and print its link."""
    from octapi.connect import way_to
    from octapi.page.beside import Opened

    opened = Opened(way_to(address))
    print(f"The page: {opened.link}", flush=True)
    return opened


def demo(
    script: Annotated[str, typer.Argument(help="The script to run on the cluster.")] = "",
    workers: Annotated[int, typer.Option(help="Workers to start on this computer.")] = 2,
    page: Annotated[bool, typer.Option("--page", help="Show the page, until Ctrl-C.")] = False,
) -> None:
    """Start a real master and workers on loopback, run a script on them, and print who did what."""
    from octapi.embedded import EmbeddedCluster

    path = script or str(Path(__file__).parent.parent / "examples" / "compute.py")
    print(f"Starting a master and {workers} workers on this computer ...", flush=True)
    with EmbeddedCluster(workers=workers) as embedded:
        opened = open_page(embedded.address) if page else None
        try:
            print(f"Running {Path(path).name} on the cluster at {embedded.place}", flush=True)
            code = run_script([path], environment(embedded.address))
            if opened is not None and sys.stdin.isatty():
                print("The cluster and its page stay until you press Ctrl-C.", flush=True)
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
        finally:
            if opened is not None:
                opened.close()
    raise typer.Exit(code)
