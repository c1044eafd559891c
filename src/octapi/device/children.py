"""Ending processes that this one started: asked first, killed when they take too long, and waited for."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def stop(process: subprocess.Popen[Any], patience_s: float) -> None:
    """Tell a process to end, and wait for its end; after ``patience_s`` seconds it is killed."""
    process.terminate()
    reap(process, patience_s)


def reap(process: subprocess.Popen[Any], patience_s: float) -> None:
    """Wait for the end of a process that knows that it is to end; after ``patience_s`` seconds it is killed."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def stop_soon(process: asyncio.subprocess.Process, patience_s: float) -> None:
    """As :func:`stop`, in an event loop; one that has ended needs nothing."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await reap_soon(process, patience_s)


async def reap_soon(
    process: asyncio.subprocess.Process, patience_s: float, kill: Callable[[], object] | None = None
) -> None:
    """As :func:`reap`, in an event loop; ``kill`` is another way to end it for good."""
    try:
        await asyncio.wait_for(process.wait(), patience_s)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            (kill or process.kill)()
        await process.wait()
