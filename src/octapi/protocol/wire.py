"""The bytes between client, master and worker: frames of msgpack, records of results.

A frame is a length (8 bytes, little-endian) and that many bytes of msgpack.  A result record is
a header (:data:`RECORD`) and its payload.  Nothing here unpickles.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import msgpack

from octapi.errors import ClusterError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

PROTOCOL: Final = 2
OLDEST_PROTOCOL: Final = 2
FRAME_LIMIT: Final = 1 << 32
LENGTH: Final = struct.Struct("<Q")
#: longer frames are read in parts of so many bytes
PART: Final = 1 << 20
#: index in the batch, kind, bytes of payload, started (epoch seconds), duration (seconds)
RECORD: Final = struct.Struct("<IBIdd")
#: set in ``kind`` when the payload is msgpack of (data, stdout, stderr, memory)
WITH_EXTRA: Final = 0x80

#: what a worker says of a batch that must reach the client once; the rest is news that may be missed
LASTING: Final = frozenset({"results", "provisional", "file", "cut", "end"})

JOBS: Final = "jobs"
ITEMS: Final = "items"


def pack(message: Any) -> bytes:
    """Frame one message."""
    body: bytes = msgpack.packb(message)
    return LENGTH.pack(len(body)) + body


def unpack(body: bytes) -> Any:
    """Read one message's body.  Raises ValueError for what is none."""
    try:
        return msgpack.unpackb(body, max_bin_len=FRAME_LIMIT, max_str_len=FRAME_LIMIT, strict_map_key=False)
    except TypeError as error:  # a list or a map as key of a map
        raise ValueError(f"This is no message: {error}.") from error


async def read_frame(reader: asyncio.StreamReader, limit: int = FRAME_LIMIT) -> Any:
    """Wait for one message; :exc:`asyncio.IncompleteReadError` when the other side is gone.

    Raises :exc:`ClusterError` for a frame longer than ``limit`` bytes, before reading it.
    """
    return unpack(await read_body(reader, limit))


async def read_body(
    reader: asyncio.StreamReader, limit: int = FRAME_LIMIT, progress: Callable[[], None] | None = None
) -> bytes:
    """Wait for one message as :func:`read_frame`, and return its bytes.

    ``progress`` is called as the parts of a long one come: they are signs of life.
    """
    (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if size > limit:
        raise ClusterError(f"A frame of {size:,} bytes came in; the limit is {limit:,}. Is the other side OctaPi?")
    if size <= PART:
        return await reader.readexactly(size)
    body = bytearray()
    while len(body) < size:
        body += await reader.readexactly(min(PART, size - len(body)))
        if progress is not None:
            progress()
    return bytes(body)
