"""``octapi demo``."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

import octapi
from octapi.cli.scripts import environment, run_script
from octapi.client.connect import way_to
from octapi.page.local_page import Opened
from octapi.testing import EmbeddedCluster


def example(name: str) -> Path:
    """Return the path of an example: of the package, or of the checkout that the package is run from."""
    package = Path(octapi.__file__).parent
    packaged = package / "examples" / name
    return packaged if packaged.exists() else package.parent.parent / "examples" / name


def open_page(address: str) -> Opened:
    """Open the page of a cluster, and print its link."""
    opened = Opened(way_to(address))
    print(f"The page: {opened.link}", flush=True)
    return opened


def demo(
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="The script to run on the cluster.")] = "",
    workers: Annotated[int, typer.Option(metavar="N", help="Workers to start on this computer.")] = 2,
    page: Annotated[bool, typer.Option("--page", help="Show the page, until Ctrl-C.")] = False,
) -> None:
    """Start a real master and workers on loopback, run a script on them, and print who did what."""
    path = script or str(example("compute.py"))
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
    if not code:
        print(what_next(page))
    raise typer.Exit(code)


def what_next(has_page: bool) -> str:
    """Return the three lines that say what to do after a demonstration."""
    install = ("sudo ./scripts/install", "puts OctaPi and the command octapi on this computer")
    own = ("octapi run SCRIPT.py", "runs your own script on it, with progress and the table of who did what")
    rows = [
        *([install] if shutil.which("octapi") is None else []),
        ("octapi master", "makes this computer a master, and prints the line that lets workers in"),
        ("octapi token create --install", "prints the line that brings OctaPi to a device, and lets it in"),
        *([] if shutil.which("octapi") is None else [own]),
    ]
    hint = "" if has_page else " (with --page this demonstration shows itself in a browser)"
    return "\n".join([f"What next{hint}:", *(f"  {line:<31}{text}" for line, text in rows)])
