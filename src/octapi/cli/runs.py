"""``octapi submit``, ``runs``, ``logs`` and ``stop``: scripts that live on the master."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octapi.cli import live_view as watching
from octapi.cli import tables
from octapi.cli.jobs import ask_master
from octapi.cli.scripts import like
from octapi.client.connect import any_way, by_way
from octapi.client.master_rpc import MasterRpc
from octapi.client.remote import hello
from octapi.client.user_modules import needed_by
from octapi.errors import RunError
from octapi.protocol.client_messages import Runs
from octapi.settings import Settings
from octapi.text.escape import visible
from octapi.text.units import clock_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from octapi.client.endpoint import MasterEndpoint

Address = Annotated[str, typer.Option(metavar="HOST:PORT", help="host:port of the master.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or its last letters.")]
#: how much of a file travels at once, in bytes
PIECE = 256 << 10
#: how often 'logs -f' looks for more, in seconds
LOOK_S = 0.5
#: how long a command waits for an answer, in seconds
PATIENCE_S = 10.0
#: the most letters of a failed run's last line in the table
REASON = 60


def converse(address: str, work: Callable[[MasterRpc], Coroutine[Any, Any, Any]]) -> Any:
    """Open a conversation with the master, and return what ``work`` returns."""
    settings = Settings.load()
    way = any_way(address, settings)

    async def run(found: MasterEndpoint) -> Any:
        async with MasterRpc(found, max(settings.patience_s, PATIENCE_S), hello()) as conversation:
            return await work(conversation)

    return by_way(way, lambda found: asyncio.run(run(found)))


# ---- submit


def submit(
    context: typer.Context,
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="The script; what follows it are its arguments.")],
    file: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A file or directory that it needs; may be repeated.")
    ] = None,
    restartable: Annotated[
        bool, typer.Option("--restartable", help="Start it again if the master is restarted meanwhile.")
    ] = False,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Leave a script to the master and return at once: it runs there, also when this computer is off."""
    files = dict(parcel(script, file or []))
    question = {"script": script.name, "arguments": context.args, "restartable": restartable}
    found = converse(address, lambda master: send(master, question, files))
    if as_json:
        print(json.dumps({"run": found}))
        return
    letters = found.rpartition("-")[2]
    print(found)
    print(f"octapi: 'octapi logs -f {letters}' shows what it says, 'octapi runs' how it is.", file=sys.stderr)


def parcel(script: Path, files: list[Path]) -> Iterator[tuple[str, Path]]:
    """Return what is to be sent: names on the master, with the files here.

    The script comes with the modules that it imports from its own directory.  Raises :exc:`RunError` for a file that is
    not there, and for two of one name.
    """
    if script.is_dir() or str(script) == "-":
        what = f"{script} is a directory" if script.is_dir() else "The master cannot read this computer's stdin"
        raise RunError(f"{what}; it takes a script. Send directories along: octapi submit --file DIRECTORY SCRIPT")
    if not script.is_file():
        raise RunError(f"There is no script {script}.{like(script)}")
    seen = {script.name: script}
    for name, path in (*modules(script), *(row for file in files for row in contents(file))):
        if seen.setdefault(name, path).resolve() != path.resolve():
            raise RunError(f"{path} and {seen[name]} would both be {name} on the master.")
    yield from seen.items()


def modules(script: Path) -> Iterator[tuple[str, Path]]:
    """Return the modules beside a script that it imports, and those that they import."""
    if not zipfile.is_zipfile(script):  # an archive brings its own
        yield from needed_by(script)


def contents(path: Path) -> Iterator[tuple[str, Path]]:
    """Return a file under its name, or the files of a directory under the directory's.  Raises :exc:`RunError`."""
    if path.is_file():
        yield path.name, path
    elif path.is_dir():
        name = path.resolve().name
        for entry in sorted(path.rglob("*")):
            if entry.is_file() and "__pycache__" not in entry.parts:
                yield f"{name}/{entry.relative_to(path).as_posix()}", entry
    else:
        raise RunError(f"There is no file {path}.")


async def send(master: MasterRpc, question: dict[str, Any], files: dict[str, Path]) -> str:
    """Send a script with its files and start it; return the run's id."""
    run: str = (await master.manage("submit", **question))["run"]
    total = sum(path.stat().st_size for path in files.values())
    sent = 0
    for name, path in files.items():
        mode = path.stat().st_mode & 0o777
        with path.open("rb") as source:
            is_first = True
            while (data := source.read(PIECE)) or is_first:
                await master.manage("upload", run=run, name=name, data=data, mode=mode, first=is_first)
                is_first, sent = False, sent + len(data)
                show_sent(sent, total)
    await master.manage("launch", run=run)
    return run


def show_sent(sent: int, total: int) -> None:
    """Show on a terminal how much of something long was sent."""
    if total > 16 * PIECE and sys.stderr.isatty():
        end = "\n" if sent == total else ""
        print(f"\r\x1b[Koctapi: sent {sent >> 20} of {total >> 20} MB", end=end, file=sys.stderr, flush=True)


# ---- runs


def runs(
    address: Address = "",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", help="How many of the latest.")] = 20,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the latest runs: what ran, who started it, and what became of it."""
    if watch:
        watching.follow(address, watching.run_rows, watching.RUNS, as_json)
        return
    found, way = ask_master(address, Runs(limit))
    if as_json:
        print(json.dumps(found["runs"]))
        return
    if not found["runs"]:
        print(f"No script has used the cluster at {way.place} yet. Run one: octapi run SCRIPT, or octapi submit SCRIPT")
    else:
        tables.show(HEAD, [line(run, found["time"]) for run in found["runs"]], whole=("Run",))
    for text in found.get("trouble", ()):
        print(f"octapi: the master says: {visible(text)}", file=sys.stderr)


HEAD = ("Run", "Script", "User", "State", "Done", "Failed", "Open", "Began", "Took")


def line(run: dict[str, Any], now: float) -> tuple[str, ...]:
    """Return the cells of one run for people, in the order of :data:`HEAD`; ``now`` is the cluster's time."""
    began = run["started"] or run["submitted"]
    took = (now if run["ended"] is None else run["ended"]) - began
    script = " ".join([run["script"], *run["arguments"]])
    counts = (run["done"], run["failed"], run["waiting"] + run["running"])
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(began))
    return (run["id"], script[:40], run["user"], state_of(run), *(f"{n:,}" for n in counts), since, clock_time(took))


def state_of(run: dict[str, Any]) -> str:
    """Say how a run stands, with the reason if it went wrong."""
    text: str = run["state"]
    if text == "done":  # of the script: its jobs may have failed all the same
        text = "ended, with failures" if run["failed"] else "ended"
    if text == "gone":
        text = f"gone, {run['kept']:,} kept" if run["kept"] else "gone"
    if run["exit_code"]:
        text += f", exit code {run['exit_code']}" if run["exit_code"] > 0 else f", signal {-run['exit_code']}"
    last = run["error"].strip().splitlines()[-1:]
    if last:
        text += f": {last[0][:REASON]}"
    if run["restarts"]:
        text += f" (restarted {run['restarts']} times)" if run["restarts"] > 1 else " (restarted once)"
    return text


# ---- logs and stop


def logs(
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    address: Address = "",
) -> None:
    """Print what a submitted script has said; with -f its exit code is this command's."""
    code = converse(address, lambda master: print_log(master, run, follow))
    raise typer.Exit(code if 0 <= code < 256 else 128 - code)


async def print_log(master: MasterRpc, run: str, follow: bool) -> int:
    """Print a log, and return the run's exit code if its end was waited for, else 0."""
    offset = 0
    while True:
        found = await master.manage("log", run=run, offset=offset)
        if found["offset"] > offset:
            print(f"octapi: {found['offset'] - offset:,} bytes are not kept any more.", file=sys.stderr, flush=True)
        data = from_base64(found["data"])
        write(data)
        offset = found["offset"] + len(data)
        if found["over"]:
            if follow:
                tell_end(found)
            return (found["exit_code"] or 0) if follow else 0
        if not data and not follow:
            return 0
        if not data:
            await asyncio.sleep(LOOK_S)


def from_base64(text: str) -> bytes:
    """Read bytes."""
    return base64.b64decode(text)


def write(data: bytes) -> None:
    """Write bytes to stdout as they are.  A reader that went away ends the command."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(0)  # nobody reads, so there is nobody to tell


def tell_end(found: dict[str, Any]) -> None:
    """Say how a run ended, unless it ended well."""
    code = found["exit_code"]
    if code is None:
        print("octapi: the run was interrupted: its master ended meanwhile.", file=sys.stderr, flush=True)
    elif code:
        what = f"exit code {code}" if code > 0 else f"signal {-code}"
        print(f"octapi: the run ended with {what}.", file=sys.stderr, flush=True)


def stop(run: RunName, address: Address = "") -> None:
    """End a run: a submitted script is ended, of any other the jobs are stopped."""
    found = converse(address, lambda master: master.manage("stop", run=run))
    if found["stopped"]:
        print(f"Run {found['run']} is stopped.")
    else:
        print(f"Run {found['run']} did not run any more.")
