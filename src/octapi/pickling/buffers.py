"""Large buffers beside a pickle, in one piece of bytes with it: pickle's protocol 5, out of band.

Where arrays are in a call or a result, their memory lies beside the pickle, so that it is copied into no pickle and out
of none: what is loaded stands on the bytes that came, which are its own and can be written to.  Other bytes than a
pickle begin with 0; no pickle does.  Then follow the number of buffers (4 bytes), the length of the pickle (8 bytes),
the lengths of the buffers (8 bytes each), the pickle, and the buffers, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import copyreg
import ctypes
import io
import pickle
import struct
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    Buffer = bytes | bytearray | memoryview

#: buffers from this length on lie beside the pickle, in bytes
LARGE: Final = 64 << 10
HEAD: Final = struct.Struct("<B3xIQ")
SIZE: Final = struct.Struct("<Q")
#: where a buffer begins: what works on arrays may rely on it
ALIGNED: Final = 64
NOTHING: Final[frozenset[int]] = frozenset()
WRONG: Final = "What came is no pickle with its buffers beside it."


class LargeBytes:
    """Stands in a pickle for bytes, so that they lie beside it."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce_ex__(self, _: object) -> tuple[Any, ...]:
        return bytes, (pickle.PickleBuffer(self.data),)


def collector(buffers: list[memoryview], lifted: Collection[int]) -> Callable[[pickle.PickleBuffer], bool]:
    """Return what pickle asks of each buffer: whether it is to be in the pickle; the others are put into ``buffers``.

    Bytes stay there but those that were ``lifted``, by their id: a class may want its bytes back as bytes.
    """

    def is_inside(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:
            return True
        if raw.nbytes < LARGE or (isinstance(raw.obj, bytes | bytearray) and id(raw.obj) not in lifted):
            return True
        buffers.append(raw)
        return False

    return is_inside


def dumps(obj: object, lifted: Collection[int] = ()) -> tuple[bytes, list[memoryview]]:
    """Pickle, and return the large buffers apart; ``lifted`` are the ids of the bytes in :class:`LargeBytes`.

    Raises whatever pickling raises.
    """
    found: list[pickle.PickleBuffer] = []
    data = pickle.dumps(obj, 5, buffer_callback=found.append)
    if not found:  # most calls: nothing in them has a buffer
        return data, []
    del data, found
    buffers: list[memoryview] = []
    array = getattr(sys.modules.get("numpy"), "ndarray", None)
    if array is None:
        return pickle.dumps(obj, 5, buffer_callback=collector(buffers, lifted)), buffers
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 5, buffer_callback=collector(buffers, lifted))
    pickler.dispatch_table = {**copyreg.dispatch_table, array: reduced}
    pickler.dump(obj)
    return file.getvalue(), buffers


def reduced(array: Any) -> Any:
    """Pickle an array so that it can be written to where it is loaded, as with a pickle that holds all."""
    return (array if array.flags.writeable else array.copy(order="K")).__reduce_ex__(5)


def lift(args: Sequence[object]) -> tuple[Sequence[object], Collection[int]]:
    """Return arguments with :class:`LargeBytes` for large bytes among them, and the ids of those."""
    for value in args:
        if type(value) is bytes and len(value) >= LARGE:
            break
    else:  # most calls
        return args, NOTHING
    large = {id(value) for value in args if type(value) is bytes and len(value) >= LARGE}
    made: dict[int, LargeBytes] = {}  # bytes that are there twice are one object there too
    return tuple(
        made.setdefault(id(value), LargeBytes(value)) if type(value) is bytes and id(value) in large else value
        for value in args
    ), large


def join(pickled: bytes, buffers: Sequence[memoryview], lead: int = 0) -> bytes:
    """Return a pickle and its buffers in one piece; ``lead`` bytes will stand before it."""
    if not buffers:
        return pickled
    parts: list[Buffer] = [HEAD.pack(0, len(buffers), len(pickled))]
    parts += [SIZE.pack(buffer.nbytes) for buffer in buffers]
    parts.append(pickled)
    end = lead + sum(map(len, parts))
    for buffer in buffers:
        parts += [bytes(-end % ALIGNED), buffer]
        end += -end % ALIGNED + buffer.nbytes
    return b"".join(parts)


def split(data: Buffer, lead: int = 0, *, own: bool = True) -> tuple[bytes, list[memoryview]]:
    """Return the pickle in ``data`` and its buffers; with ``own`` each can be written to.

    Raises ValueError for what :func:`join` did not make.
    """
    if not data or data[0]:
        return data if type(data) is bytes else bytes(data), []
    whole = memoryview(data)
    try:
        _, count, size = HEAD.unpack_from(whole)
        start = HEAD.size + SIZE.size * count
        sizes = [number for (number,) in SIZE.iter_unpack(whole[HEAD.size : start])]
    except struct.error as error:
        raise ValueError(WRONG) from error
    end = lead + start + size
    found = []
    for length in sizes:
        begin = end + -end % ALIGNED - lead
        end = begin + lead + length
        found.append(whole[begin : begin + length])
    if len(sizes) != count or end - lead != len(data):
        raise ValueError(WRONG)
    return bytes(whole[start : start + size]), [as_own(part) for part in found] if own else found


def as_own(part: memoryview) -> memoryview:
    """Return memory that can be written to, and that begins where arrays may begin."""
    if not part.readonly and ctypes.addressof(ctypes.c_char.from_buffer(part)) % 16 == 0:
        return part
    return memoryview(bytearray(part))


def loads(data: Buffer, lead: int = 0) -> Any:
    """Unpickle what :func:`join` made.  Raises whatever unpickling raises."""
    pickled, buffers = split(data, lead)
    return pickle.loads(pickled, buffers=buffers)
