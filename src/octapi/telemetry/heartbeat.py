"""A sign of life: master and worker write one every few seconds, and a health check reads it.

It lies in memory where that is possible, for memory cards wear out.  A worker that is busy still writes it, as its jobs
run in processes of their own; one whose loop is stuck does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from octapi.device import files
from octapi.settings import ContainerSettings, default_home, variable

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD_S = 5.0
#: silence after which a role counts as stuck, in seconds
PATIENCE_S = 30.0


class Sign(TypedDict):
    """The last sign of a role's process: when (epoch seconds), and what went on in words."""

    time: float
    pid: int
    state: str


def place() -> Path:
    """Return where the sign is: below /run for root's usual home, else in the home."""
    home = default_home()
    is_system = hasattr(os, "geteuid") and os.geteuid() == 0 and home == Path.home() / ".octapi"
    return Path("/run/octapi") if is_system else home


def write(role: str, state: str) -> None:
    """Write the sign of a role with what goes on in words."""
    path = place() / f"{role}.pulse"
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    files.replace(path, json.dumps({"time": time.time(), "pid": os.getpid(), "state": state}), 0o600)


def read(role: str) -> Sign | None:
    """Return the last sign; None if there is none."""
    try:
        found: Sign = json.loads((place() / f"{role}.pulse").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def judge(sign: Sign | None, now: float, patience_s: float) -> tuple[bool, str]:
    """Say whether it lives, and in words how it is."""
    if sign is None:
        return False, "no sign of life yet"
    silent_s = now - float(sign["time"])
    if abs(silent_s) > patience_s:
        return False, f"stuck: no sign of life for {silent_s:.0f} s; it was {sign['state']}"
    return True, str(sign["state"])


async def beat(role: str, state: Callable[[], str]) -> None:
    """Write the sign again and again; an empty state is not written, so that it counts as stuck."""
    while True:
        found = state()
        if found:
            with contextlib.suppress(OSError):  # a full or read-only file system: `octapi health` says there is no sign
                write(role, found)
        await asyncio.sleep(PERIOD_S)


def health(patience_s: float = PATIENCE_S) -> tuple[bool, str]:
    """Judge the role that the environment names.  The agent of a container engine answers by being there."""
    role = variable("role") or ContainerSettings.role
    return (True, "agent") if role == "agent" else judge(read(role), time.time(), patience_s)


if __name__ == "__main__":  # what a container's health check runs: without the command line's imports, for small boards
    is_well, text = health()
    print(text)
    sys.exit(0 if is_well else 1)
