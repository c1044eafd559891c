"""``octapi nodes``: who is in the cluster."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import typer

from octapi.cli import live_view, tables
from octapi.cli.commands import Group
from octapi.cli.control import ask_desk
from octapi.cli.jobs import ask_master
from octapi.protocol.client_messages import Nodes
from octapi.text.escape import visible
from octapi.text.units import days

nodes_app = typer.Typer(
    cls=Group, help="Show who is in the cluster, or remove a device.", invoke_without_command=True, add_completion=False
)


@nodes_app.callback()
def nodes(
    context: typer.Context,
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="host:port of the master.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the workers of the cluster, and how their certificates stand."""
    if context.invoked_subcommand:
        return
    if watch:
        live_view.follow(address, live_view.node_rows, live_view.NODES, as_json)
        return
    overview, _ = ask_master(address, Nodes())
    rows = table(overview)
    if as_json:
        print(json.dumps(rows))
        return
    if rows:
        tables.show(HEAD, [cells(row) for row in rows], whole=("Name",))
    else:
        print("No worker has joined yet. 'octapi token create' on the master prints the line for a device.")
    for text in other_releases(overview):
        print(f"octapi: {visible(text)}", file=sys.stderr)
    for text in overview.get("trouble", ()):
        print(f"octapi: the master says: {visible(text)}", file=sys.stderr)


HEAD = ("Name", "State", "Address", "Slots", "Python", "In since", "Certificate")


def cells(row: dict[str, Any]) -> tuple[object, ...]:
    """Return a worker's cells, in the order of :data:`HEAD`."""
    away = time.strftime("since %Y-%m-%d %H:%M", time.localtime(row["away_since"])) if row["away_since"] else "now"
    where = (row["address"], row["slots"], row["python"]) if row["online"] else (f"not here {away}", "", "")
    since, _, certificate = row["certificate"].removeprefix("in since ").partition(", certificate ")
    return (row["name"], row.get("state", "away"), *where, since, certificate)


def remove(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the device or login.")]) -> None:
    """Remove a device: at once, and for good. It comes back only with a new token."""
    found = ask_desk("remove", name=name)
    print(f"Removed {' and '.join(found['removed'])} {name}.")
    if found["revoked_tokens"]:
        print(
            f"Revoked with it: {', '.join(found['revoked_tokens'])}, by which it came in. Devices that are in stay in; "
            "for new ones make another token."
        )
    if found["valid_tokens"]:
        print(
            f"Still valid: {', '.join(found['valid_tokens'])}. Under another name, whoever holds one of these tokens "
            "can join a device that was never in. 'octapi token revoke ID' ends one."
        )


def table(overview: dict[str, Any]) -> list[dict[str, Any]]:
    """Put what runs and what is written down together; workers that are not here come last."""
    here = {row["name"]: row for row in overview["workers"]}
    members = {row["name"]: row for row in overview["members"] if row["role"] == "worker"}
    rows = []
    for name in (*here, *(name for name in members if name not in here)):
        member = members.get(name, {})
        row = dict(
            here.get(name, {"name": name}), online=name in here, since=member.get("since"), ends=member.get("ends")
        )
        row["away_since"] = None if name in here else overview.get("seen", {}).get(name)
        rows.append(row | {"certificate": standing(member, overview["time"])})
    return rows


def other_releases(overview: dict[str, Any]) -> list[str]:
    """Return a line for each worker that runs another release than the master."""
    mine = overview.get("release", "")
    return [
        f"{row['name']} runs OctaPi {row['release']}, the master {mine}. Install the same release on both."
        for row in overview["workers"]
        if mine and row.get("release") and row["release"] != mine
    ]


def standing(member: dict[str, Any], now: float) -> str:
    """Say since when a member is in, and how its certificate stands."""
    if not member:
        return ""
    since = time.strftime("%Y-%m-%d", time.localtime(member["since"]))
    left_s = member["ends"] - now
    if left_s < 0:
        return f"in since {since}, certificate expired; it renews itself"
    return f"in since {since}, certificate for {days(left_s)}"
