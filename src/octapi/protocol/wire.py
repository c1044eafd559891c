"""The bytes between client, master, worker and slot: frames of msgpack, records of results.

A frame is a length (8 bytes, little-endian) and a body of that many bytes: the length of its head (4 bytes) and of a
gap (1 byte), the head, the gap, and its payloads one after the other.  The head is msgpack; where a message holds a
:class:`Payload`, it says where that lies.  So large bytes are copied into no head, and whoever passes a message on
passes them on as they are.

A result record is a header (:data:`RECORD`) and its payload.  Nothing here unpickles.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgpack

from octapi.errors import ClusterError, MessageRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

#: bytes as they lie anywhere in memory
Buffer = bytes | bytearray | memoryview
BUFFERS: Final = (bytes, bytearray, memoryview)

PROTOCOL: Final = 3
OLDEST_PROTOCOL: Final = 3
FRAME_LIMIT: Final = 1 << 32
#: the most that one outcome can be: 32 bits say how long it is, with what stands before it
LARGEST: Final = (1 << 32) - (1 << 24)
#: what may be in a frame beside the arguments or the result of one job: others of its batch, names, places
ROOM: Final = 64 << 20
#: the longest frame of a member that only asks: a part of an upload
ASKED: Final = 16 << 20
LENGTH: Final = struct.Struct("<Q")
#: the length of a head, and of the gap between it and the payloads, in bytes
HEAD: Final = struct.Struct("<IB")
#: where a payload begins among the payloads of its frame, and its length, in bytes
PLACE: Final = struct.Struct("<QQ")
#: the type of msgpack's extension that stands in a head for a payload
IS_PAYLOAD: Final = 1
#: bytes from this length on travel as a payload
LARGE: Final = 8 << 10
#: index in the batch, kind, bytes of payload, started (epoch seconds), duration (seconds)
RECORD: Final = struct.Struct("<IBIdd")
#: set in ``kind`` when before the data stands msgpack of (stdout, stderr, memory)
WITH_EXTRA: Final = 0x80
#: how long that is, and how many bytes stand between it and the data
EXTRA: Final = struct.Struct("<IB")
#: where large data begin: arrays may rely on it
ALIGNED: Final = 64

#: what the data of a batch are: msgpack of a list of pickled calls, one pickled call, a pickle of the items of a map
JOBS: Final = "jobs"
JOB: Final = "job"
ITEMS: Final = "items"


def frame_limit(largest_mb: int) -> int:
    """Return how long a frame may be, in bytes, where the arguments or the result of one job take so many megabytes."""
    return min((largest_mb << 20) + ROOM, FRAME_LIMIT)


class Payload:
    """Bytes that travel beside the head of a message; ``view`` is what they are."""

    __slots__ = ("view",)

    def __init__(self, data: Buffer) -> None:
        self.view = memoryview(data).cast("B")

    def __len__(self) -> int:
        return len(self.view)

    def __eq__(self, other: object) -> bool:
        return self.view == (other.view if isinstance(other, Payload) else other)

    __hash__ = None  # type: ignore[assignment]


#: bytes in a message, large or not
Blob = bytes | Payload


def blob(data: Buffer) -> Blob:
    """Return bytes as a message holds them; what is large is not copied."""
    if len(data) >= LARGE:
        return Payload(data)
    return data if type(data) is bytes else bytes(data)


def buffer_of(data: Blob) -> bytes | memoryview:
    """Return the bytes that a message held."""
    return data.view if type(data) is Payload else data  # type: ignore[return-value]


def owned(data: bytes | memoryview) -> bytes | memoryview:
    """Return a part of a frame as it may be kept: only what is large keeps the frame in memory."""
    return bytes(data) if type(data) is memoryview and len(data) < LARGE else data


def of_jobs(payloads: list[bytes]) -> tuple[str, Blob]:
    """Return the form and the data of a batch of pickled calls; a single one is not copied."""
    if len(payloads) == 1:
        return JOB, blob(payloads[0])
    return JOBS, blob(msgpack.packb(payloads))


def jobs_of(form: str, data: Blob) -> Sequence[bytes | memoryview]:
    """Return the jobs of a batch, each as it was pickled."""
    if form == JOB:
        return (buffer_of(data),)
    found: list[bytes] = msgpack.unpackb(buffer_of(data), max_bin_len=FRAME_LIMIT)
    return found


class Frame:
    """One packed message: its parts are written one after the other."""

    __slots__ = ("parts", "size")

    def __init__(self, parts: Sequence[Buffer]) -> None:
        self.parts = parts
        self.size = sum(map(len, parts))

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)

    @property
    def payloads(self) -> Sequence[Buffer]:
        """Return the payloads, without the head."""
        return self.parts[1:]


def frame(message: Any) -> Frame:
    """Frame one message."""
    payloads: list[Buffer] = []
    there = 0

    def outside(value: Any) -> Any:
        nonlocal there
        if type(value) is not Payload:
            raise TypeError(f"a {type(value).__name__} cannot be part of a message")
        place = PLACE.pack(there, len(value))
        there += len(value)
        payloads.append(value.view)
        return msgpack.ExtType(IS_PAYLOAD, place)

    head: bytes = msgpack.packb(message, default=outside)
    gap = -(HEAD.size + len(head)) % ALIGNED if payloads else 0
    length = HEAD.size + len(head) + gap + there
    return Frame((LENGTH.pack(length) + HEAD.pack(len(head), gap) + head + bytes(gap), *payloads))


def pack(message: Any) -> bytes:
    """Frame one message, in one piece."""
    return bytes(frame(message))


def unpack(body: Buffer, payloads: Buffer | None = None) -> Any:
    """Read one frame's body; its payloads may come apart.  Raises ValueError for what is none."""
    if len(body) < HEAD.size:
        raise ValueError("This is no message: it has no head.")
    size, gap = HEAD.unpack_from(body)
    end = HEAD.size + size
    whole = memoryview(body)
    there = whole[end + gap :] if payloads is None else memoryview(payloads)

    def inside(kind: int, place: bytes) -> Payload:
        if kind != IS_PAYLOAD or len(place) != PLACE.size:
            raise ValueError("This is no message: it holds what is no payload.")
        start, size = PLACE.unpack(place)
        if start + size > len(there):
            raise ValueError("This is no message: a payload of it is missing.")
        return Payload(there[start : start + size])

    if end > len(body):
        raise ValueError("This is no message: its head is missing.")
    try:
        return msgpack.unpackb(
            whole[HEAD.size : end],
            max_bin_len=FRAME_LIMIT,
            max_str_len=FRAME_LIMIT,
            strict_map_key=False,
            ext_hook=inside,
        )
    except TypeError as error:  # a list or a map as key of a map
        raise ValueError(f"This is no message: {error}.") from error


class Reader(Protocol):
    """What frames are read from: asyncio's reader, or a :class:`octapi.protocol.stream.FrameStream`."""

    async def readexactly(self, size: int, /) -> bytes:
        """Return so many bytes; raise :exc:`asyncio.IncompleteReadError` when the other side is gone."""


class Writer(Protocol):
    """What frames are written to."""

    def write(self, data: Buffer, /) -> None:
        """Send bytes; never blocks."""


def write(writer: Writer, frames: Iterable[Frame | bytes]) -> None:
    """Write frames, each in its parts; those that were kept on disk are in one piece."""
    for one in frames:
        for part in (one,) if isinstance(one, bytes) else one.parts:
            writer.write(part)


def unpacked(data: Any) -> Any:
    """Read msgpack that lies in a message.  Raises :exc:`MessageRefused` for what is none."""
    try:
        return msgpack.unpackb(data)
    except (ValueError, TypeError) as error:
        raise MessageRefused(f"it cannot be read ({type(error).__name__}: {error!s:.80})") from None


async def read_frame(reader: Reader, limit: int = FRAME_LIMIT) -> Any:
    """Wait for one message; :exc:`asyncio.IncompleteReadError` when the other side is gone.

    Raises :exc:`ClusterError` for a frame longer than ``limit`` bytes, before reading it.
    """
    return unpack(await read_body(reader, limit))


async def read_body(reader: Reader, limit: int = FRAME_LIMIT, progress: Callable[[], None] | None = None) -> Buffer:
    """Wait for one message as :func:`read_frame`, and return its bytes.

    ``progress`` is called as the parts of a long one come: they are signs of life.
    """
    (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if size > limit:
        raise ClusterError(f"A frame of {size:,} bytes came in; the limit is {limit:,}. Is the other side OctaPi?")
    in_place: Callable[..., Awaitable[Buffer]] | None = getattr(reader, "read_in_place", None)
    return await (reader.readexactly(size) if in_place is None else in_place(size, progress))
