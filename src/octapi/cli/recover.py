"""``octapi jobs recover``: what became of the jobs of a script that went away without a word."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octapi.client import recovery
from octapi.client.connect import any_way
from octapi.dispy.recover import way_back
from octapi.errors import OctapiError, RunError
from octapi.job import read
from octapi.settings import Settings
from octapi.text.escape import visible

if TYPE_CHECKING:
    from octapi.client.endpoint import MasterEndpoint
    from octapi.client.recovery import Recovered

#: the most letters of a value or an error in the list for people
SHOWN = 70


def recover(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, or its last letters.")] = "",
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Recovery file of a dispy script, instead of RUN.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="New file for the results, a pickle of a list of dicts.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Seconds to wait for jobs that still run.")
    ] = None,
    terminate: Annotated[bool, typer.Option("--terminate", help="Stop what runs longer than that.")] = False,
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="host:port of the master.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fetch the results of a script that was killed; what was fetched is not kept any longer."""
    wanted, way = what(run, key, address)
    if file is not None and file.exists():
        raise RunError(f"{file} exists already. Remove it, or give the name of a new file.")
    if terminate and timeout is None:
        raise RunError("--terminate needs --timeout: how many seconds jobs may still take.")

    def take(found: list[dict[str, Any]]) -> None:
        if file is not None:
            save(file, found)
            print(f"{len(found):,} outcomes are in {file}.")
        elif as_json:
            print(json.dumps([plain(row) for row in found]), flush=True)
        else:
            for row in found:
                print(line(row), flush=True)

    found, is_complete = recovery.recover(way, wanted, timeout, terminate, row_of, take)
    if not is_complete:
        print(f"octapi: {len(found):,} outcomes so far; jobs still run, and nothing was dropped.", file=sys.stderr)
    elif key is not None:
        key.unlink(missing_ok=True)


def what(run: str, key: Path | None, address: str) -> tuple[dict[str, str], MasterEndpoint]:
    """Return what is to be fetched, and the way to it.  Raises :exc:`RunError` for a key that is none."""
    if bool(run) == (key is not None):
        raise RunError("Say what to fetch: the id of a run ('octapi runs' lists them), or --key FILE.")
    if key is None:
        return {"run": run}, any_way(address, Settings.load())
    try:
        facts = json.loads(key.read_text(encoding="utf-8"))
        wanted = {"token": str(facts["token"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{key} is no recovery file: {error}") from error
    return wanted, any_way(address, Settings.load()) if address else way_back(str(facts["address"]))


def row_of(found: Recovered) -> dict[str, Any]:
    """Describe one outcome: ``state`` is done, failed or cancelled; a value that cannot be read here stays a pickle."""
    worker = found.worker.name if found.worker is not None else ""
    row: dict[str, Any] = {"function": found.function, "worker": worker, "started": found.started, "ended": found.ended}
    if found.extra is not None:
        row |= {"stdout": found.extra.stdout, "stderr": found.extra.stderr}
    try:
        value, error = read(found.kind, found.data)
    except Exception as why:
        text = f"it cannot be unpickled here ({type(why).__name__}: {why}); the results file has its pickle"
        return row | {"state": "done", "value": None, "error": text, "pickle": found.data}
    if error is None:
        return row | {"state": "done", "value": value, "error": None}
    is_cancelled = type(error).__name__ == "CancelledError"
    return row | {"state": "cancelled" if is_cancelled else "failed", "value": None, "error": error}


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return an outcome as JSON takes it; what it does not take is written as Python does."""
    found = {key: value for key, value in row.items() if key != "pickle"}
    error = row["error"]
    found["error"] = error if error is None or isinstance(error, str) else f"{type(error).__name__}: {error}"
    for key in ("value", "stdout", "stderr"):
        if key in found:
            try:
                json.dumps(found[key])
            except (TypeError, ValueError):
                found[key] = repr(found[key])
    return found


def line(row: dict[str, Any]) -> str:
    """Return an outcome as one line for people."""
    found = plain(row)
    text = repr(row["value"]) if found["error"] is None else " ".join(found["error"].split())
    short = text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
    return visible(f"{found['state']:<10} {found['function'] or '?':<20} {found['worker']:<16} {short}".rstrip())


def save(path: Path, found: list[dict[str, Any]]) -> None:
    """Write outcomes into a new file, safely on the disk.  Raises :exc:`OctapiError` when that fails."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as target:
            pickle.dump(found, target)
            target.flush()
            os.fsync(target.fileno())
    except (OSError, pickle.PicklingError, TypeError, AttributeError) as error:
        path.unlink(missing_ok=True)
        raise OctapiError(
            f"The results could not be written to {path} ({error}); the master still has them."
        ) from error
