"""JSON, one message a line: how a process of OctaPi talks to the one that started it.

Secrets go this way too: a pipe belongs to its two ends, while arguments and environments are for everybody to read.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: the longest line, in bytes
LIMIT = 1 << 24


def to_line(message: dict[str, Any]) -> str:
    """Write one message."""
    return json.dumps(message) + "\n"


def read_first() -> dict[str, Any]:
    """Wait for the first message of the process that started this one, and read not one byte more."""
    line = bytearray()
    while not line.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            raise EOFError("the process that started this one has gone")
        line += part
    found: dict[str, Any] = json.loads(line)
    return found


def tell(message: dict[str, Any]) -> None:
    """Tell the process that started this one."""
    sys.stdout.write(to_line(message))
    sys.stdout.flush()


async def follow(reader: asyncio.StreamReader, handle: Callable[[dict[str, Any]], Awaitable[None] | None]) -> None:
    """Hand every message to ``handle`` until the other side closes."""
    while line := await reader.readline():
        found = handle(json.loads(line))
        if found is not None:
            await found


async def stdin() -> asyncio.StreamReader:
    """Return this process's stdin as a stream."""
    return await stream(sys.stdin)


async def stream(file: IO[Any]) -> asyncio.StreamReader:
    """Return a pipe as a stream."""
    reader = asyncio.StreamReader(limit=LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    return reader


def take_stdin() -> IO[bytes]:
    """Return this process's stdin under another number, so that nothing else reads it; what it was is empty now."""
    own = os.fdopen(os.dup(0), "rb", buffering=0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return own


def take_path(start: dict[str, Any]) -> None:
    """Let this process find the modules of the one that started it on the same computer, if it says where they are.

    They come last, so that a file beside a script never stands for a library.
    """
    sys.path += [place for place in start.get("path", ()) if place not in sys.path]
