"""The gateway's part of submitted scripts: who may ask for what, and what the book learns.

The scripts themselves are with the process that started the scheduler (master/supervisor/script_runner.py);
questions to it and its answers are numbered.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from octapi.errors import MessageRefused, RunError
from octapi.store import runs
from octapi.store.runs import Run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from octapi.master.gateway.access import Access
    from octapi.master.gateway.registry import RunRegistry
    from octapi.trust.names import Peer

NOT_YOURS = (
    "The run {} belongs to {}. Only the login that started it, and the account that runs the master, may do that."
)
NO_RUNNER = "This cluster keeps no scripts: its master was not started by 'octapi master'."


class Submissions:
    """Answers what clients ask of runs.

    ``end_clients(run)`` stops what a run's script left
    behind, ``stop_jobs(run)`` asks an attached script's client to stop.
    """

    def __init__(
        self,
        registry: RunRegistry,
        access: Access,
        end_clients: Callable[[str], None],
        stop_jobs: Callable[[str], bool],
    ) -> None:
        self.registry = registry
        self._access = access
        self.end_clients = end_clients
        self.stop_jobs = stop_jobs
        self._handlers = {
            "submit": self._submit, "upload": self._upload, "launch": self._launch, "log": self._log,
            "stop": self._stop,
        }  # fmt: skip
        #: asks whoever keeps the scripts; None where nobody does
        self.ask: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]] | None = None

    async def answer(self, peer: Peer | None, facts: dict[str, Any], question: Any) -> dict[str, Any]:
        """Answer one question of a client: ``{"ok": ...}`` or ``{"error": ...}``."""
        try:
            operation = str(question.get("op"))
            handler = self._handlers.get(operation)
            if handler is None:
                raise RunError(f"The master does not know the request {operation[:40]!r}.")
            return {"ok": await handler(peer, facts, question)}
        except (RunError, MessageRefused) as error:
            return {"error": str(error)}
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            return {"error": f"The master was asked for something that makes no sense ({type(error).__name__})."}

    async def _pass_on(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.ask is None:
            raise RunError(NO_RUNNER)
        answer = await self.ask(request)
        if "ok" not in answer:
            raise RunError(str(answer.get("error")))
        found: dict[str, Any] = answer["ok"]
        return found

    def find(self, wanted: Any) -> Run:
        """Return the run that a person means.  Raises :exc:`RunError` for none or several."""
        ids = self.registry.alike(str(wanted))
        if len(ids) > 1:
            raise RunError(f"{str(wanted)[:40]!r} may mean {', '.join(sorted(ids)[:5])}. Write more of it.")
        found = self.registry.find(ids[0]) if ids else None
        if found is None:
            raise RunError(f"There is no run {str(wanted)[:40]!r}. 'octapi runs' lists those there are.")
        return found

    def own(self, wanted: Any, peer: Peer | None) -> Run:
        """Return a run that a client may act on.  Raises :exc:`RunError`."""
        run = self.find(wanted)
        if not self._access.may(run, peer):
            raise RunError(NOT_YOURS.format(run.id, run.user or "another login"))
        return run

    # ---- what clients ask

    async def _submit(self, peer: Peer | None, facts: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
        owner = "" if peer is None else peer.ident
        run = self.registry.new_id()
        user, host = facts.get("user"), facts.get("host")
        known = {key: question.get(key) for key in ("script", "arguments", "restartable")}
        await self._pass_on({"op": "submit", "run": run, "owner": owner, "user": user, "host": host} | known)
        return {"run": run}

    async def _upload(self, peer: Peer | None, _: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
        data = base64.b64encode(question["data"]).decode()
        request = {key: question[key] for key in ("run", "name", "mode", "first")}
        return await self._pass_on(
            request | {"op": "upload", "data": data, "owner": "" if peer is None else peer.ident}
        )

    async def _launch(self, peer: Peer | None, _: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
        owner = "" if peer is None else peer.ident
        return await self._pass_on({"op": "launch", "run": question["run"], "owner": owner})

    async def _log(self, peer: Peer | None, _: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
        run = self.own(question["run"], peer)
        if run.kind != runs.SUBMITTED:
            raise RunError(f"{run.script} of run {run.id} ran on {run.host}; its output is there.")
        found = await self._pass_on({"op": "log", "run": run.id, "offset": int(question["offset"])})
        return found | {"run": run.id, "state": run.state}

    async def _stop(self, peer: Peer | None, _: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
        run = self.own(question["run"], peer)
        if run.kind != runs.SUBMITTED:
            return {"run": run.id, "stopped": self.stop_jobs(run.id)}
        found = await self._pass_on({"op": "stop", "run": run.id})
        return found | {"run": run.id}

    # ---- what the book learns

    def hear(self, message: dict[str, Any]) -> None:
        """Take news of a submitted script."""
        facts, now = message["run"], self.registry.now()
        ident = facts["id"]
        known = self.registry.find(ident) or run_of(facts)
        if message["event"] == "started":
            if not known.is_over or runs.may(known, "back"):
                moved = runs.moved(known, "back", now)
                self.registry.save(replace(moved, started=now, restarts=facts["restarts"]))
            return
        self.end_clients(ident)
        code = message.get("code")
        if code is None:
            self.registry.save(runs.moved(known, "master ended", now, error="The master ended meanwhile."))
            return
        event = "stop" if message.get("stopped") else "bye" if code == 0 else "failed"
        last = "" if event == "bye" else str(message.get("tail"))
        self.registry.save(runs.moved(known, event, now, exit_code=code, error=last))


def run_of(facts: dict[str, Any]) -> Run:
    """Return a submitted run as it is kept."""
    return Run(
        facts["id"],
        script=facts["script"],
        arguments=tuple(facts["arguments"]),
        kind=runs.SUBMITTED,
        user=facts["user"],
        host=facts["host"],
        owner=facts["owner"],
        submitted=facts["submitted"],
        restartable=facts["restartable"],
    )


class Pipe:
    """Questions to the process that keeps the scripts, over its pipe."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask, and wait for the answer."""
        number = next(self._numbers)
        self._open[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"kind": "ask", "number": number, "request": request})
            return await self._open[number]
        finally:
            del self._open[number]

    def hear(self, message: dict[str, Any]) -> None:
        """Take an answer."""
        waiting = self._open.get(message["number"])
        if waiting is not None and not waiting.done():
            waiting.set_result(message["answer"])
