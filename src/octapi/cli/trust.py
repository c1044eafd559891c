"""``octapi login``, ``token``, ``identity`` and ``ssh``."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from octapi.cli import secret, tables, wheels
from octapi.cli.commands import Group
from octapi.cli.control import ask_desk
from octapi.device.files import replace_as_owner
from octapi.errors import OctapiError, TokenRefused, TrustError
from octapi.install import build_index, install_command
from octapi.settings import default_home
from octapi.text.units import seconds_of
from octapi.trust import authority_file
from octapi.trust import login as logins
from octapi.trust import ssh as keys
from octapi.trust.authority_file import write_beside
from octapi.trust.token import parse

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
token_app = typer.Typer(
    cls=Group,
    add_completion=False,
    help="Make, list and revoke the tokens with which devices join.",
    no_args_is_help=True,
)
identity_app = typer.Typer(
    cls=Group, add_completion=False, help="Back up, restore or replace the cluster's identity.", no_args_is_help=True
)


def login(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token, '-' for stdin.")] = "",
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File that holds the token.")] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of this login; user and host by default.")] = "",
) -> None:
    """Let scripts on this computer use the cluster of a token."""
    text = secret.take(token, token_file, ask=True)
    if not text:
        raise TokenRefused("Give a token: octapi login TOKEN. On the master: octapi token create --role client")
    found, _ = logins.join(parse(text), default_home(), name)
    print(f"Logged in to the cluster {found.cluster!r} as {found.name}. Scripts on this computer find it now.")


# ---- tokens


def create(
    role: Annotated[str, typer.Option(metavar="ROLE", help="worker, or client for a person's computer.")] = "worker",
    life: Annotated[
        str, typer.Option(metavar="TIME", help="How long it lets devices in, such as 90m, 24h, 7d.")
    ] = "24h",
    once: Annotated[bool, typer.Option("--once", help="It lets one device in.")] = False,
    uses: Annotated[int, typer.Option(metavar="N", help="How many devices it lets in; 0 for any number.")] = 0,
    pattern: Annotated[
        str, typer.Option("--name", metavar="NAMES", help="Names it is good for, such as 'pi-*'.")
    ] = "*",
    show: Annotated[bool, typer.Option("--show", help="Print it although stdout is no terminal.")] = False,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to a new file, readable by its owner only.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Print the line for a device that has only Python: it installs and joins.")
    ] = False,
    address: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="host:port at which the device reaches this master; found if not given."
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Make a token, and print the one line for the device."""
    try:
        life_s = seconds_of(life)
    except ValueError as error:
        raise TrustError(f"{life!r} is no time. Write a number with s, m, h or d, such as 24h.") from error
    if not (secret.shows(show) or as_json or file is not None):
        raise TrustError(
            "A token is a secret, and stdout is no terminal. Use --file FILE, or --show if its reader may know it."
        )
    if file is not None and file.exists():
        raise TrustError(f"{file} exists already. Remove it, or give the name of a new file.")
    if address:
        install_command.check(address)
    if install:
        build_index.pack(wheels.place())
    found = ask_desk(
        "token-create",
        role=role,
        life_s=life_s,
        uses=1 if once else uses or None,
        pattern=pattern,
        addresses=[address] if address else [],
    )
    line = f"octapi {'login' if role == 'client' else 'worker'} {found['token']}"
    if install:
        line = found["line"] = line_for(found["token"], role)
    if file is not None:
        write_beside(file, (line if install else found["token"]) + "\n")
        print(f"Wrote token {found['ident']} to {file}.")
    elif as_json:
        print(json.dumps(found))
    else:
        print(line)


def line_for(text: str, role: str) -> str:
    """Return the line for a bare device, which asks at the token's first address."""
    found = install_command.for_token(text, role)
    addresses = parse(text).addresses
    if len(addresses) > 1 and sys.stderr.isatty():
        others = ", ".join(addresses[1:])
        print(f"The device will ask at {addresses[0]}; with --address at another, such as {others}.", file=sys.stderr)
    return found


def list_tokens(as_json: AsJson = False) -> None:
    """List the tokens, without their secrets."""
    rows = ask_desk("token-list")["tokens"]
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        print("There are no tokens. 'octapi token create' makes one.")
        return
    found = []
    for row in rows:
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["ends"]))
        left = "any" if row["uses"] is None else row["uses"]
        names = "any" if row["pattern"] == "*" else row["pattern"]
        found.append((row["ident"], row["role"], row["state"], until, left, names))
    tables.show(("ID", "Role", "State", "Until", "Uses left", "Names"), found, whole=("ID",))


def revoke(
    ident: Annotated[str, typer.Argument(metavar="ID", help="The token's public id, from 'octapi token list'.")],
) -> None:
    """Revoke a token; devices that joined with it stay in."""
    ask_desk("token-revoke", ident=ident)
    print(f"Token {ident} lets nobody in any more.")


def metrics(
    file: Annotated[
        Path, typer.Option(metavar="FILE", help="Write the token here; a file that is there keeps its owner.")
    ],
    ca_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the certificates of the authority here.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Make another token; the old one is good for nothing.")] = False,
) -> None:
    """Write the token with which Prometheus reads metrics, and can do nothing else."""
    found = ask_desk("metrics-token", renew=new)
    replace_as_owner(file, found["token"] + "\n", 0o600)
    print(f"Wrote the token of metrics to {file}. Prometheus must be able to read it, and nobody else.")
    if ca_file is not None:
        replace_as_owner(ca_file, "".join(found["authorities"]), 0o644)
        print(f"Wrote the authority's certificates to {ca_file}.")


# ---- the cluster's identity


def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A new file, best on a memory stick that you lock away.")
    ],
) -> None:
    """Write the cluster's identity to a file. Whoever has it is the master."""
    authority_file.backup(default_home(), file)
    print(f"Wrote the cluster's identity to {file}. Keep it safe: whoever has this file is the master.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that 'octapi identity backup' wrote.")],
) -> None:
    """Make this device the master of a cluster from a backup; its workers find it."""
    name = authority_file.restore(default_home(), file)
    print(f"This device is the master of {name!r} now. Start it with 'octapi master'; its workers find it.")


def rotate(
    compromised: Annotated[
        bool, typer.Option("--compromised", help="The old key is known to others: everybody must join anew.")
    ] = False,
) -> None:
    """Sign with a new key from now on, while the cluster works."""
    found = ask_desk("rotate", compromised=compromised)
    if compromised:
        print(f"The authority is {found['root']} now, and everybody else is out. Restart the master, and join anew.")
    else:
        print(f"The authority is {found['root']} now; the workers are renewing their certificates.")


# ---- SSH


def ssh(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name of the worker.")],
    command: Annotated[list[str] | None, typer.Argument(metavar="COMMAND", help="A command to run there.")] = None,
) -> None:
    """Log into a worker, or run a command there."""
    arguments = keys.program(default_home(), node, command or [])
    try:
        os.execv(arguments[0], arguments)
    except OSError as error:
        raise OctapiError(f"ssh cannot be started: {error}.") from error
