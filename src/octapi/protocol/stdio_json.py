"""JSON, one message a line: how a process of OctaPi talks to the one that started it.

Secrets go this way too: a pipe belongs to its two ends, while arguments and environments are for everybody to read.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import IO, TYPE_CHECKING, Any

from octapi.errors import MessageRefused
from octapi.protocol.checked import json_object
from octapi.text.escape import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

#: the longest line, in bytes
LIMIT = 1 << 24


def to_line(message: dict[str, Any]) -> str:
    """Write one message.  Raises :exc:`MessageRefused` for one that the other side would not read."""
    line = json.dumps(message) + "\n"
    if len(line) > LIMIT:
        raise MessageRefused(f"a message of {len(line):,} bytes; the limit between processes is {LIMIT:,}")
    return line


async def start(module: str, handles: Sequence[int] = ()) -> asyncio.subprocess.Process:
    """Start a module of OctaPi as a process of its own, which inherits the descriptors ``handles``.  Raises OSError."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LIMIT,
        start_new_session=True,
        pass_fds=tuple(handles),
    )


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


async def follow(
    reader: asyncio.StreamReader,
    handle: Callable[[dict[str, Any]], Awaitable[None] | None],
    log: Callable[[str], None] | None = None,
) -> None:
    """Hand every message to ``handle`` until the other side closes.

    With a ``log`` a line that is none, or that ``handle`` cannot use, is told there and left out; else it raises.
    """
    while line := await next_line(reader, log):
        try:
            found = handle(json_object(line))
            if found is not None:
                await found
        except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
            if log is None:
                raise
            log(f"ignored a line of another process of the master: {type(error).__name__}: {shown(str(error), 300)}")


async def next_line(reader: asyncio.StreamReader, log: Callable[[str], None] | None) -> bytes:
    """Return the next line; no bytes at the end.  One that is too long is left out, and ``log`` told."""
    while True:
        try:
            return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError as error:
            if log is None:
                raise MessageRefused("a line is too long") from error
            log(f"ignored a line of another process of the master: it is longer than {LIMIT:,} bytes")
            await skip_line(reader)


async def skip_line(reader: asyncio.StreamReader) -> None:
    """Read up to the end of the line, keeping nothing."""
    while True:
        try:
            await reader.readuntil(b"\n")
            return
        except asyncio.LimitOverrunError as error:
            await reader.readexactly(error.consumed or 1)
        except asyncio.IncompleteReadError:
            return


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
