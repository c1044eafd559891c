"""Starts submitted scripts as children of the process that holds the key, each under an account of its own.

It unpickles nothing and runs nothing of a script in this process.  Requests come from the scheduler's process, so
nothing in them is believed: see :func:`octapi.master.supervisor.script_files.of_request`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi.device import accounts, children
from octapi.errors import OctapiError, RunError
from octapi.master.supervisor.script_files import ScriptFiles, SubmittedScript, can_give_accounts, free_uid, of_request
from octapi.master.supervisor.script_log import RunLog
from octapi.protocol import stdio_json
from octapi.settings import Internal
from octapi.store import location
from octapi.trust import names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from octapi.settings import Settings

log = logging.getLogger("octapi.master.supervisor")

#: scripts at once
MOST_RUNNING = 100
#: how many runs keep their files after their end
KEPT = 200
#: how long a script may take to end after SIGTERM, in seconds
STOP_S = 10.0
#: the same when the master ends, which whoever ends it waits for
CLOSE_S = 3.0
#: the end of a failed script's output that is kept with its run, in bytes
TAIL = 2000
#: how long an upload may pause, in seconds
UPLOAD_S = 300.0
#: gives ``import dispy`` to scripts where the second distribution is not installed
SHIM = Path(__file__).parents[2] / "shim"


class ScriptRunner:
    """All submitted scripts of a master.

    ``introduce(run)`` gives a run what it needs to be a client: it writes an identity if there is one, and returns
    variables for its environment.  ``tell(message)`` reports to the master's book.
    """

    def __init__(
        self,
        state: Path,
        settings: Settings,
        introduce: Callable[[SubmittedScript, Path], dict[str, str]],
        tell: Callable[[dict[str, Any]], None],
        cluster: str = "",
        removed: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._handlers: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "submit": self.do_submit, "upload": self.do_upload, "launch": self.do_launch, "log": self.do_log,
            "stop": self.do_stop,
        }  # fmt: skip
        self.shelf = ScriptFiles(state / "runs", settings.upload_mb << 20)
        self.gives_accounts = can_give_accounts()
        self.log_limit = settings.log_mb << 20
        self.introduce = introduce
        self.tell = tell
        self.cluster = cluster
        self.removed = removed
        self.runs: dict[str, SubmittedScript] = {}
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._touched: dict[str, float] = {}
        self._introduced: dict[str, float] = {}
        self._stopping: set[str] = set()
        self._is_closing = False

    # ---- beginning and end of the master

    async def open(self) -> None:
        """Take up what the last master left: runs that may be restarted are, others are told as interrupted."""
        try:
            found = self.shelf.open()
        except OSError as error:
            log.warning(f"no scripts can be submitted: {error}.")
            return
        self.runs = {run.id: run for run in found}
        for run in found:
            if run.state == "uploading":
                self._forget(run)
            elif run.state == "running":
                await self._take_up(run)
        self._tidy()

    async def _take_up(self, run: SubmittedScript) -> None:
        end_all(run)  # its master may have been killed so suddenly that some of its processes live
        if not run.restartable or run.owner in self.removed():
            self._ended(run, None)
            return
        run.restarts += 1
        try:
            await self._start(run)
        except (OSError, OctapiError) as error:
            log.warning(f"run {run.id} could not be restarted: {error}")
            self._ended(run, None)

    async def close(self) -> None:
        """End all scripts; those that may be restarted are by the next master."""
        self._is_closing = True
        await asyncio.gather(*(self._end(ident, CLOSE_S) for ident in list(self.processes)))
        await asyncio.gather(*self._watching.values(), return_exceptions=True)

    # ---- requests

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what the scheduler's process asks for, and return ``{"ok": ...}`` or ``{"error": ...}``."""
        try:
            found = self._handlers.get(str(request.get("op")))
            if found is None:
                raise RunError(f"The master does not know the request {str(request.get('op'))[:40]!r}.")
            return {"ok": await found(request)}
        except RunError as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": f"The master's disk does not do its part: {error}."}
        except (ValueError, TypeError, KeyError) as error:
            return {"error": f"The master was asked for something that makes no sense ({type(error).__name__})."}

    def _run(self, request: dict[str, Any]) -> SubmittedScript:
        found = self.runs.get(str(request.get("run")))
        if found is None:
            raise RunError(f"The master has no files of run {str(request.get('run'))[:40]!r} (any more).")
        self._touched[found.id] = time.monotonic()
        return found

    def _login(self, ident: Any) -> str:
        """Return the login behind an ident: for a submitted script's own, who submitted it."""
        runs = (run.owner for run in self.runs.values() if names.ident_of_run(self.cluster, run.id) == ident)
        return next(runs, str(ident or ""))

    def outcasts(self, removed: Collection[str]) -> list[str]:
        """Return the idents of the runs of logins that were removed."""
        return [names.ident_of_run(self.cluster, run.id) for run in self.runs.values() if run.owner in removed]

    def _own(self, request: dict[str, Any]) -> SubmittedScript:
        found = self._run(request)
        if found.owner != self._login(request.get("owner")):
            raise RunError(f"The run {found.id} belongs to another login.")
        return found

    async def do_submit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take a new run, whose files follow."""
        run = of_request(request, time.time())
        run.owner = self._login(run.owner)
        for other in [r for r in self.runs.values() if r.state == "uploading"]:
            if time.monotonic() - self._touched.get(other.id, 0.0) > UPLOAD_S:
                self._forget(other)
        if run.id in self.runs:
            raise RunError(f"There is a run {run.id} already.")
        if sum(other.state != "ended" for other in self.runs.values()) >= MOST_RUNNING:
            raise RunError(f"{MOST_RUNNING} submitted scripts run already. Stop some: octapi stop RUN")
        self._tidy()
        if self.gives_accounts:
            run.uid = free_uid({other.uid for other in self.runs.values()})
            reach = location.closed_to(self.shelf.home(run), accounts.Account(f"run {run.id}", run.uid, run.uid))
            if reach:
                raise RunError(f"A script's account cannot enter {reach}. Set OCTAPI_STATE on the master.")
        self.shelf.create(run)
        self.runs[run.id] = run
        self._touched[run.id] = time.monotonic()
        return {}

    async def do_upload(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take some bytes of a file."""
        run, data = self._own(request), base64.b64decode(request["data"])
        self.shelf.add(run, str(request["name"]), data, int(request["mode"]), is_first=bool(request["first"]))
        return {}

    async def do_launch(self, request: dict[str, Any]) -> dict[str, Any]:
        """Start a run whose files are there."""
        run = self._own(request)
        if run.state != "uploading" or not (self.shelf.home(run) / run.script).is_file():
            raise RunError(f"The run {run.id} cannot be started: its script did not come.")
        self.shelf.give(run)
        try:
            await self._start(run)
        except BaseException:
            self._forget(run)
            raise
        return {}

    async def do_log(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return some of a run's output."""
        run = self._run(request)
        found = self._log(run).read(int(request["offset"]))
        is_over = run.state == "ended" and found.offset + len(found.data) >= found.end
        data = base64.b64encode(found.data).decode()
        return {"offset": found.offset, "data": data, "end": found.end, "over": is_over, "exit_code": run.exit_code}

    async def do_stop(self, request: dict[str, Any]) -> dict[str, Any]:
        """End a run's script."""
        run = self._run(request)
        was_running = run.id in self.processes
        self._stopping.add(run.id)
        await self._end(run.id)
        if run.id in self._watching:
            await asyncio.wait([self._watching[run.id]], timeout=STOP_S)
        return {"stopped": was_running}

    def owners_removed(self, removed: set[str]) -> None:
        """End the scripts of those who were removed from the cluster."""
        for run in list(self.runs.values()):
            if run.owner in removed and run.id in self.processes:
                log.info(f"run {run.id} is stopped: who submitted it was removed.")
                self._stopping.add(run.id)
                end_all(run, self.processes[run.id].pid)

    def introduce_again(self, every_s: float) -> None:
        """Give scripts that run for long a new identity before the old one is too old."""
        for ident in list(self.processes):
            run = self.runs[ident]
            if time.monotonic() - self._introduced.get(ident, 0.0) > every_s:
                self._introduced[ident] = time.monotonic()
                try:
                    self.introduce(run, self.shelf.home(run))
                except (OSError, OctapiError) as error:  # its own directory: it may have done anything to it
                    log.warning(f"run {run.id} could not be given a new identity: {error}")

    # ---- one script

    def _log(self, run: SubmittedScript) -> RunLog:
        return RunLog(self.shelf.place(run), self.log_limit)

    def environment(self, run: SubmittedScript) -> dict[str, str]:
        """Return all that a script finds in its environment."""
        home = str(self.shelf.home(run))
        self._introduced[run.id] = time.monotonic()
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "TZ") if key in os.environ}
        path = os.pathsep.join(filter(None, (str(SHIM), os.environ.get("PYTHONPATH"))))
        own = {"HOME": home, "USER": run.user, "LOGNAME": run.user, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        return kept | own | {Internal.RUN: run.id} | self.introduce(run, self.shelf.home(run))

    async def _start(self, run: SubmittedScript) -> None:
        start = {
            "account": run.account,
            "directory": str(self.shelf.home(run)),
            "command": [run.script, *run.arguments],
            "environment": self.environment(run),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "octapi.master.supervisor.exec_script",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(stdio_json.to_line(start).encode())
        process.stdin.close()
        self.processes[run.id] = process
        run.state, run.exit_code, run.ended = "running", None, None
        self.shelf.save(run)
        self._watching[run.id] = asyncio.create_task(self._watch(run, process))
        self.tell({"kind": "run", "event": "started", "run": run.for_book()})

    async def _watch(self, run: SubmittedScript, process: asyncio.subprocess.Process) -> None:
        """Keep what a script says, and note its end."""
        assert process.stdout is not None
        output, said = self._log(run), False
        while data := await process.stdout.read(64 << 10):
            try:
                output.append(data)
            except OSError as error:
                if not said:
                    log.warning(f"the output of run {run.id} cannot be kept: {error}.")
                said = True
        code = await process.wait()
        del self.processes[run.id], self._watching[run.id]
        end_all(run, process.pid)
        if not self._is_closing:
            self._ended(run, code)

    def _ended(self, run: SubmittedScript, code: int | None) -> None:
        """Note that a script is over; without a code it was interrupted."""
        run.state, run.exit_code, run.ended = "ended", code, time.time()
        with contextlib.suppress(OSError):
            self.shelf.save(run)
        tail = b""
        if code:
            with contextlib.suppress(OSError):
                tail = self._log(run).read(-TAIL, TAIL).data
        is_stopped = run.id in self._stopping
        self._stopping.discard(run.id)
        report = {"code": code, "tail": tail.decode(errors="replace").strip(), "stopped": is_stopped}
        self.tell({"kind": "run", "event": "ended", "run": run.for_book()} | report)

    async def _end(self, ident: str, patience_s: float = STOP_S) -> None:
        """End a script: politely, then for good."""
        process = self.processes.get(ident)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await children.reap_soon(process, patience_s, lambda: end_all(self.runs[ident], process.pid))

    def _forget(self, run: SubmittedScript) -> None:
        self.runs.pop(run.id, None)
        self._touched.pop(run.id, None)
        self.shelf.remove(run)

    def _tidy(self) -> None:
        """Remove the files of the oldest runs that are over."""
        over = sorted((run for run in self.runs.values() if run.state == "ended"), key=lambda run: run.ended or 0.0)
        for run in over[: max(0, len(over) - KEPT)]:
            self._forget(run)


def end_all(run: SubmittedScript, pid: int = 0) -> None:
    """Kill every process of a run: all of its account, which nobody else has, or those of its session."""
    if pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    if run.uid is not None and run.uid in accounts.RUN_UIDS and accounts.is_root():
        accounts.end_account(run.uid)
