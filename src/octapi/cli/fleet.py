"""``octapi nodes run|copy|reboot|shutdown``: the same over SSH on all or named workers, side by side."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octapi.device import power
from octapi.errors import ActionFailed, TrustError
from octapi.settings import default_home
from octapi.text.escape import shown_lines, visible
from octapi.trust import ssh

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

On = Annotated[str, typer.Option("--on", metavar="NAMES", help="Names of workers, with commas; all by default.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
#: workers that are worked on at once
AT_ONCE = 32


def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The command, after '--' if it has options.")],
    on: On = "",
    as_json: AsJson = False,
) -> None:
    """Run a command on workers, and print what each says."""
    everywhere(on, as_json, lambda worker: on_worker(worker, command))


def copy(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of this device.", exists=True)],
    to: Annotated[str, typer.Argument(metavar="PATH", help="Where it goes; the login's directory by default.")] = "",
    on: On = "",
    as_json: AsJson = False,
) -> None:
    """Copy a file to workers."""
    everywhere(on, as_json, lambda worker: [*tool("scp"), "-r", "-p", "--", str(file), f"{worker}:{to}"])


def reboot(on: On = "", as_json: AsJson = False) -> None:
    """Reboot workers."""
    everywhere(on, as_json, lambda worker: on_worker(worker, ["octapi", "device", "reboot"]))


def shutdown(on: On = "", as_json: AsJson = False) -> None:
    """Shut workers down. On balena nobody but a hand at its plug can switch such a device on again."""
    everywhere(on, as_json, lambda worker: on_worker(worker, ["octapi", "device", "shutdown"]))


def device(action: Annotated[str, typer.Argument(metavar="ACTION", help="reboot or shutdown")]) -> None:
    """Reboot or shut down this device."""
    print(power.act(action))


def tool(name: str) -> list[str]:
    """Return the start of a command of OpenSSH with the cluster's configuration."""
    path = shutil.which(name)
    if path is None:
        raise TrustError(f"There is no {name} here. Install the package openssh-client.")
    return [path, "-F", str(default_home() / ssh.DIRECTORY / "config"), "-o", "BatchMode=yes"]


def on_worker(worker: str, command: Sequence[str]) -> list[str]:
    """Return the command that runs another on a worker; the words go to the worker's shell as they are."""
    return [*tool("ssh"), worker, "--", *command]


def everywhere(on: str, as_json: bool, make: Callable[[str], list[str]]) -> None:
    """Do something on each worker and print each answer.  Raises :exc:`ActionFailed` when some failed."""
    there = ssh.reachable(default_home())
    wanted = [name.strip() for name in on.split(",") if name.strip()] or there
    unknown = [name for name in wanted if name not in there]
    if unknown or not wanted:
        missing, known = ", ".join(unknown) or "at all", ", ".join(there) or "none"
        raise ActionFailed(f"No worker {missing} can be logged into now. There is: {known}.")
    with ThreadPoolExecutor(min(len(wanted), AT_ONCE)) as pool:
        rows = list(pool.map(lambda worker: attempt(worker, make(worker)), wanted))
    if as_json:
        print(json.dumps(rows))
    else:
        for row in rows:
            show(row)
    failed = [row["name"] for row in rows if row["code"]]
    if failed:
        raise ActionFailed(f"It failed on {len(failed)} of {len(rows)}: {', '.join(failed)}.")


def attempt(worker: str, command: list[str]) -> dict[str, Any]:
    """Run one command to its end."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return {"name": worker, "code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def show(row: dict[str, Any]) -> None:
    """Print one worker's answer."""
    lines = shown_lines((row["stdout"] + row["stderr"]).rstrip())
    state = "ok" if not row["code"] else f"exit code {row['code']}"
    print(f"{visible(row['name']):<24} {state}{': ' + lines[0] if len(lines) == 1 and lines[0] else ''}")
    for line in lines if len(lines) > 1 else ():
        print(f"    {line}")
