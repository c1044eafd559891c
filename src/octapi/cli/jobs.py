"""``octapi jobs``: the scripts that use the cluster."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octapi.cli import live_view, tables
from octapi.cli.commands import Group
from octapi.client.connect import any_way, by_way
from octapi.client.endpoint import ask
from octapi.client.remote import hello
from octapi.errors import OctapiError
from octapi.protocol import client_messages as said
from octapi.settings import Settings

if TYPE_CHECKING:
    from octapi.client.endpoint import MasterEndpoint

Address = Annotated[str, typer.Option(metavar="HOST:PORT", help="host:port of the master.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

HEAD = ("No.", "Script", "User", "Functions", "Waiting", "Running", "Done", "Failed", "For")

jobs_app = typer.Typer(
    cls=Group,
    add_completion=False,
    help="List the scripts that use the cluster, or fetch what became of jobs.",
    invoke_without_command=True,
)


def ask_master(address: str, question: Any) -> tuple[Any, MasterEndpoint]:
    """Ask the master one of :mod:`octapi.protocol.client_messages`, and return its answer and the way to it."""
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
        live_view.follow(address, live_view.job_rows, live_view.JOBS, as_json)
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
