"""What has no source text that a node could run: a function, class or partial, pickled with all it refers to."""

from __future__ import annotations

import inspect
import io
import marshal
import sys
import types
from collections import ChainMap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi.pickling.ownership import is_library

if TYPE_CHECKING:
    from octapi.protocol.source_pieces import Piece


def dumps(thing: Any, source: Piece | None) -> bytes:
    """Pickle it with its place and its text, for tracebacks; what reads it is ``octapi.pool.source_text.take``.

    Raises whatever pickling raises.
    """
    import cloudpickle

    inner = inspect.unwrap(getattr(thing, "func", thing))
    place = source[:3] if source is not None else ("", 1, "")
    module = sys.modules.get(getattr(inner, "__module__", None) or "")
    if module is None or not is_own(module) or module.__name__ in cloudpickle.list_registry_pickle_by_value():
        return packed((thing, *place))
    cloudpickle.register_pickle_by_value(module)
    try:
        return packed((thing, *place))
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def packed(value: object) -> bytes:
    """Pickle by value with code objects as they are: cloudpickle leaves their files' names out."""
    from cloudpickle import cloudpickle

    table = ChainMap({types.CodeType: of_code}, cloudpickle.Pickler.dispatch_table)
    pickler = type("Pickler", (cloudpickle.Pickler,), {"dispatch_table": table})
    file = io.BytesIO()
    pickler(file, protocol=5).dump(value)
    return file.getvalue()


def of_code(code: types.CodeType) -> tuple[Any, ...]:
    """Reduce a code object."""
    return marshal.loads, (marshal.dumps(code),)


def is_own(module: types.ModuleType) -> bool:
    """Say whether a module is the user's, which nodes do not have, and not the script itself."""
    file = getattr(module, "__file__", None)
    return module.__name__ != "__main__" and file is not None and not is_library(Path(file).absolute().parent)
