"""A master without encryption: the scheduler, and the scripts that were submitted to it, in one process."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from octapi.errors import StateError
from octapi.master.gateway import server
from octapi.master.supervisor.script_runner import ScriptRunner
from octapi.settings import Settings, state_dir
from octapi.store import location

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from octapi.master.gateway.gateway import Gateway
    from octapi.master.supervisor.script_files import SubmittedScript

log = logging.getLogger("octapi.master")


async def serve(host: str, port: int, dask_port: int, on_ready: Callable[[int, int], None]) -> None:
    """Run it until SIGINT or SIGTERM; the arguments are those of :func:`octapi.master.gateway.server.serve`."""
    settings, state = Settings.load(), state_dir()
    found: list[int] = []

    def ready(port: int, dask_port: int) -> None:
        found.append(port)
        on_ready(port, dask_port)

    def introduce(run: SubmittedScript, home: Path) -> dict[str, str]:
        where = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
        own = {"OCTAPI_ADDRESS": f"{where}:{found[0]}", "OCTAPI_INSECURE": "1"}
        return own | {"OCTAPI_HOME": str(home / ".octapi")}

    async def keep_scripts(gateway: Gateway) -> None:
        runner = ScriptRunner(state, settings, introduce, gateway.submissions.hear)
        gateway.submissions.ask = runner.answer
        try:
            await runner.open()
            await asyncio.Event().wait()
        finally:
            await runner.close()

    try:
        location.prepare(state, None)
    except StateError as error:
        log.warning(f"no history, and no outcomes for clients that go away: {error}.")
        await server.serve(host, port, dask_port, on_ready)
    else:
        await server.serve(host, port, dask_port, ready, None, keep_scripts, state, settings)
