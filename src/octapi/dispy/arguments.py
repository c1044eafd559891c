"""From a job's arguments to bytes: what the node has itself travels by name."""

from __future__ import annotations

import pickle
import pickletools
import sys
from typing import TYPE_CHECKING, Any

from octapi.client import payload
from octapi.pickling.arriving import REFERS

if TYPE_CHECKING:
    from collections.abc import Set


def call_bytes(args: tuple[Any, ...], kwargs: dict[str, Any], names: Set[str]) -> bytes:
    """Pickle a call's arguments; ``names`` are those that jobs find in their ``__main__``.

    Objects of classes that ``depends`` sent are then objects of those very classes on the node.
    Raises whatever pickling raises.
    """
    try:
        data = pickle.dumps((args, kwargs), 5)
    except Exception:  # by value it may work, or fail with the better message
        return payload.call_bytes(args, kwargs)
    if REFERS not in data or (names and (b"__main__" not in data or mains(data) <= names)):
        return data
    return payload.call_bytes(args, kwargs)


def mains(data: bytes) -> set[str]:
    """Return the names of the script's functions and classes that a pickle may refer to."""
    texts = {found for _, found, _ in pickletools.genops(data) if isinstance(found, str)}
    script = vars(sys.modules["__main__"])
    return {name for text in texts if callable(script.get(name := text.partition(".")[0]))}
