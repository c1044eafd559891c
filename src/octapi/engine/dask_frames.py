"""OctaPi's frames on Dask's connections: each is an operation of its own, and its payloads are frames of Dask's.

Dask writes and reads such frames as they are, and its scheduler passes nothing of them on by itself: neither side
copies a payload into a message, and nothing in them is ever unpickled on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from distributed.protocol.serialize import Serialized, register_serialization_family

from octapi.errors import MessageRefused
from octapi.protocol import wire
from octapi.trust.policy import STREAM_OP

if TYPE_CHECKING:
    from collections.abc import Sequence

#: how Dask knows such frames
FAMILY: Final = "octapi"


def operation(message: Any) -> dict[str, Any]:
    """Return a message, in plain values and payloads, as an operation on Dask's connection."""
    head, *payloads = wire.frame(message).parts
    if not payloads:
        return {"op": STREAM_OP, "body": head}
    return {"op": STREAM_OP, "body": head, "data": Serialized({"serializer": FAMILY}, payloads)}


def size_of(operation: Any) -> int:
    """Return how many bytes of ours an operation holds."""
    if type(operation) is not dict:
        return 0
    body, data = operation.get("body", b""), operation.get("data")
    return len(body) + (sum(len(part) for part in data.frames) if isinstance(data, Serialized) else 0)


def message_of(body: Any, data: Any = None) -> Any:
    """Read the message of an operation.  Raises :exc:`MessageRefused` and ValueError for what is none."""
    if not isinstance(body, bytes):
        raise MessageRefused("its body is no bytes")
    if data is None:
        return wire.unpack(memoryview(body)[wire.LENGTH.size :])
    frames = data.frames if isinstance(data, Serialized) else data
    if not isinstance(frames, list | tuple) or not all(isinstance(part, wire.BUFFERS) for part in frames):
        raise MessageRefused("its payloads are no bytes")
    whole = frames[0] if len(frames) == 1 else b"".join(frames)
    return wire.unpack(memoryview(body)[wire.LENGTH.size :], whole)


def as_they_are(_: dict[str, Any], frames: Sequence[Any]) -> list[Any]:
    """Give Dask's reader the frames themselves."""
    return list(frames)


# Dask finds the readers of frames in a table of its own; the entry has no state
register_serialization_family(FAMILY, None, as_they_are)
