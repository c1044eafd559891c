"""``octapi wheels``: what the master gives to devices that have no internet."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Annotated

import typer

from octapi.cli import tables
from octapi.cli.commands import Group
from octapi.install import build_index, wheel_download, wheel_index
from octapi.settings import default_home

app = typer.Typer(
    cls=Group,
    add_completion=False,
    help="Make, fetch and list the wheels that devices get from this master.",
    no_args_is_help=True,
)


def place() -> Path:
    """Return the shelf of this user's master."""
    return default_home() / wheel_index.DIRECTORY


def pack() -> None:
    """Make the wheels of what is installed here: for devices with this machine and this Python. Needs no internet."""
    gone = build_index.pack(place())
    report()
    if gone:
        print(f"Removed {len(gone)} of other versions; for devices of other kinds run 'octapi wheels fetch' again.")


def fetch(
    machine: Annotated[
        list[str] | None, typer.Option(metavar="MACHINE", help="As 'uname -m' says it; may be repeated.")
    ] = None,
    python: Annotated[list[str] | None, typer.Option(metavar="VERSION", help="Such as 3.13; may be repeated.")] = None,
) -> None:
    """Fetch what devices of other kinds need, by pip; Debian 12 and 13 on aarch64 and x86_64 if nothing is said."""
    wanted = wheel_download.targets(machine or wheel_download.MACHINES, python or wheel_download.PYTHONS)
    build_index.fetch(place(), wanted, lambda text: print(f"octapi wheels: {text}", file=sys.stderr, flush=True))
    report()


def show(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the wheels that devices get."""
    rows = sorted(wheel_index.read(place()))
    if as_json:
        print(json.dumps([row._asdict() for row in rows]))
        return
    if rows:
        tables.show(("Bytes", "Wheel"), [(row.size, row.name) for row in rows], whole=("Wheel",))
    else:
        print("There are none yet: 'octapi wheels pack' makes those of this computer, 'octapi wheels fetch' gets more.")


def report() -> None:
    """Say what is there."""
    rows = wheel_index.read(place())
    size = sum(row.size for row in rows) / 1e6
    kind = f"{platform.machine()} with Python {platform.python_version()}"
    print(f"{len(rows)} wheels, {size:.0f} MB, in {place()}; this computer is {kind}.")
