"""Frames of Dask's messages, read as plain data: nothing in them is unpickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack
from distributed.core import Status
from distributed.protocol.core import msgpack_opts
from distributed.protocol.serialize import Serialized, msgpack_decode_default

from octapi.errors import RoleRefused
from octapi.protocol.checked import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

#: the longest message that is read, in bytes; longer ones are a mistake or an attack
MESSAGE_LIMIT: Final = 1 << 33
NO_PICKLES: Final = "A pickle came where none is read."
#: what a message of Dask may hold besides plain values; keys of tasks lie deep in lists
PLAIN: Final = plain(40, 5_000_000, leaves=(Serialized, Status), is_dask=True)


def check_size(size: int, limit: int) -> None:
    """Raise ValueError for a message that is too long."""
    if size > limit:
        raise ValueError(f"a message of {size:,} bytes; the limit is {limit:,}")


class Held(NamedTuple):
    """What a message holds besides plain values: anything serialized or pickled, and whether any of it is pickled."""

    anything: bool
    pickles: bool


def loads_plain(frames: Sequence[Any], *, takes_pickles: bool = False) -> tuple[Any, Held]:
    """Read a message without unpickling anything, and say what it holds besides plain values.

    What is serialized stays so; with ``takes_pickles`` None stands for what is pickled, else :exc:`RoleRefused` is
    raised.
    """
    serialized, pickles = False, False

    def decode(plain: dict[Any, Any]) -> Any:
        nonlocal serialized, pickles
        if "__Pickled__" in plain:
            if not takes_pickles:
                raise RoleRefused(NO_PICKLES)
            pickles = True
            return None
        if "__Serialized__" not in plain:
            return msgpack_decode_default(plain)
        serialized = True
        offset = plain["__Serialized__"]
        if isinstance(offset, int) and 0 < offset < len(frames):
            header = msgpack.loads(frames[offset], object_hook=msgpack_decode_default, use_list=False, **msgpack_opts)
            return Serialized(header, frames[offset + 1 : offset + 1 + header["num-sub-frames"]])
        return msgpack_decode_default(plain)

    message = msgpack.loads(frames[0], object_hook=decode, use_list=False, **msgpack_opts)
    return message, Held(serialized or pickles, pickles)
