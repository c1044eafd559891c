"""``octapi page``: the link that lets people see the cluster."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from octapi.cli import secret, tables
from octapi.cli.control import ask_desk
from octapi.errors import TrustError
from octapi.text.units import seconds_of


def page(
    view: Annotated[bool, typer.Option("--view", help="A link to look only: it stops and removes nothing.")] = False,
    life: Annotated[
        str, typer.Option(metavar="TIME", help="How long it lets people in, such as 90m, 24h, 365d.")
    ] = "24h",
    revoke: Annotated[str, typer.Option(metavar="ID", help="End a link and all logins by it: its ID, or 'all'.")] = "",
    show_list: Annotated[bool, typer.Option("--list", help="List the links there are.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print it although stdout is no terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a link to this master's page. Whoever has it is in, so it is a secret; it is also a token for /api/v1."""
    if revoke:
        gone = ask_desk("page-revoke", ident=revoke)["revoked"]
        print(json.dumps(gone) if as_json else f"Revoked {', '.join(gone) or 'nothing: there were no links'}.")
        return
    if show_list:
        print_list(as_json)
        return
    try:
        life_s = seconds_of(life)
    except ValueError as error:
        raise TrustError(f"{life!r} is no time. Write a number with s, m, h or d, such as 24h.") from error
    if not (secret.shows(show) or as_json):
        raise TrustError("The link is a secret, and stdout is no terminal. Use --show if its reader may know it.")
    found = ask_desk("page-link", kind="look" if view else "act", life_s=life_s)
    if as_json:
        print(json.dumps(found | {"token": found["link"].partition("token=")[2]}))
        return
    print(found["link"])
    if found["fingerprint"]:
        print(f"The certificate's SHA-256, for the browser's warning: {found['fingerprint']}")
    if found["here"]:
        print(f"In a browser on this computer, without a warning:\n{found['here']}")


def print_list(as_json: bool) -> None:
    """List the links."""
    rows = ask_desk("page-links")["links"]
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        print("There are no links. 'octapi page' makes one.")
        return
    found = []
    for row in rows:
        ends = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["ends"]))
        found.append((row["ident"], "may act" if row["kind"] == "act" else "may look", ends))
    tables.show(("ID", "Kind", "Until"), found, whole=("ID",))
