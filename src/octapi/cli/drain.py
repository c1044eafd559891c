"""``octapi nodes drain`` and ``resume``: emptying a worker before it is restarted, upgraded or switched off."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from octapi.cli.jobs import Address, ask_master
from octapi.errors import OctapiError
from octapi.protocol import client_messages as said

#: how often to look whether a worker is empty, in seconds
LOOK_S = 1.0
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the worker.")]


def drain(
    name: Name,
    address: Address = "",
    wait: Annotated[bool, typer.Option("--wait", help="Return when nothing runs there any more.")] = False,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="With --wait: give up after so many seconds; 0 means never.")
    ] = 0.0,
) -> None:
    """Give a worker no new jobs; those that run go on to their end. A restarted worker takes jobs again."""
    tell(address, name, True)
    if not wait:
        print(f"{name} takes no new jobs. 'octapi nodes' says drained once nothing runs there.")
        return
    until_drained(address, name, timeout)
    print(f"{name} is drained: nothing runs there.")


def resume(name: Name, address: Address = "") -> None:
    """Let a worker that was drained take jobs again."""
    tell(address, name, False)
    print(f"{name} takes jobs again.")


def tell(address: str, name: str, is_on: bool) -> None:
    """Tell the master.  Raises :exc:`OctapiError` when there is no such worker."""
    found, _ = ask_master(address, said.Drain(name, is_on))
    if not found["found"]:
        here = ", ".join(found["workers"]) or "none"
        raise OctapiError(f"No worker {name!r} is here now. Here are: {here}.")


def until_drained(address: str, name: str, timeout_s: float) -> None:
    """Wait until a worker has no more jobs, or has left.  Raises :exc:`OctapiError` when it takes too long."""
    since = time.monotonic()
    while (state := state_of(address, name)) not in ("drained", ""):
        waited_s = time.monotonic() - since
        if state not in ("draining", "silent"):
            raise OctapiError(f"{name} is {state}: it was resumed, or restarted, while it was being drained.")
        if timeout_s and waited_s > timeout_s:
            raise OctapiError(f"Jobs still run on {name} after {waited_s:.0f} s; it takes no new ones.")
        if sys.stderr.isatty():
            print(f"\r\x1b[Kjobs still run on {name} ({waited_s:.0f} s)", end="", file=sys.stderr, flush=True)
        time.sleep(LOOK_S)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def state_of(address: str, name: str) -> str:
    """Return a worker's state; an empty text if it is not here."""
    overview, _ = ask_master(address, said.Nodes())
    rows: list[dict[str, Any]] = overview["workers"]
    return next((str(row["state"]) for row in rows if row["name"] == name), "")
