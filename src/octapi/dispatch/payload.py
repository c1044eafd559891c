"""From a call in the client to bytes that a slot can load."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi import pickling
from octapi.dispatch import computation as kinds
from octapi.dispatch import sources
from octapi.dispatch.computation import Computation, File
from octapi.dispatch.modules import beside

if TYPE_CHECKING:
    import types
    from collections.abc import Callable


def call_bytes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Pickle a call's arguments: by name where that works on a worker, else by value.

    Raises whatever pickling raises.
    """
    return pickling.dumps((args, kwargs))


def of_function(function: Callable[..., Any], timeout_s: float | None, files: tuple[File, ...]) -> Computation:
    """Describe a callable so that workers can run it.

    It travels by name when a worker can import it, with the modules that lie beside the script as
    source; otherwise by value.  Raises whatever pickling raises.
    """
    from octapi.pickling import sending

    code, origins = sending.dumps(function)
    return Computation(
        kinds.FUNCTION,
        name(function),
        code,
        files=(*files, *beside(function)),
        python_bound=bool(origins),
        timeout_s=timeout_s,
        sources=sources.of(origins),
        argv=tuple(map(str, sys.argv)),
        logging=sources.logging_of_script(),
    )


def name(function: Callable[..., Any]) -> str:
    """Return what to call a callable in messages."""
    if isinstance(function, functools.partial):
        return name(function.func)
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def read_files(paths: tuple[str | Path, ...]) -> tuple[File, ...]:
    """Read files to send along; each arrives under its last part.  Raises OSError."""
    found = []
    for path in map(Path, paths):
        facts = path.stat()
        found.append(File(path.name, path.read_bytes(), facts.st_mode & 0o777, facts.st_mtime))
    return tuple(found)


def main_module() -> types.ModuleType:
    """Return the script's module."""
    return sys.modules["__main__"]
