"""From what scripts pass to JobCluster to a computation that travels as source text."""

from __future__ import annotations

import functools
import inspect
import pickle
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from octapi.dispy import sources
from octapi.dispy.logger import logger
from octapi.dispy.shapes import Shapes, owner_of
from octapi.errors import DispyError
from octapi.namespaces.dispy import PREIMPORTED
from octapi.protocol import computation as kinds
from octapi.protocol import source_pieces
from octapi.protocol.computation import Computation, File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from octapi.dispy.argument_types import Depend, Work

C = TypeVar("C")
INIT = "init_depends"
#: what jobs find without an import of their own
GIVEN = (
    *PREIMPORTED, "dispy", "DispyJob", "MsgTimeout", "serialize", "deserialize", "dispynode_logger",
    "dispy_node_name", "dispy_node_ip_addr", "dispy_job_path", "dispy_provisional_result", "dispy_send_file",
    "__name__",
)  # fmt: skip


def checked(callback: C | None, count: int, what: str) -> C | None:
    """Return a callback that takes ``count`` arguments.  Raises :exc:`DispyError` for another."""
    if callback is None:
        return None
    if not callable(callback):
        raise DispyError(f"Invalid {what} function {callback!r}: it cannot be called.")
    try:
        inspect.signature(callback).bind(*[None] * count)
    except TypeError as error:
        raise DispyError(f"Invalid {what} function {callback!r}: it must take {count} argument(s).") from error
    return callback


def interval(value: float | None, least: float, most: float, name: str) -> float | None:
    """Return a number of seconds, or None.  Raises :exc:`DispyError` when it is out of range."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise DispyError(f"Invalid {name}; it must be a number of seconds.") from error
    if not least <= number <= most:
        raise DispyError(f"Invalid {name}; must be between {least:g} and {most:g} seconds.")
    return number


def relative(dest: str | None) -> str:
    """Return ``dest_path`` as a directory below the node's own."""
    text = str(dest or "")
    if text.startswith("/"):
        logger.warning('dest_path "%s" is taken below the node\'s directory', text)
    return text.lstrip("/")


def describe(
    computation: Work,
    depends: Iterable[Depend] | None,
    setup: Callable[..., object] | None,
    cleanup: Callable[..., object] | bool | None,
    dest: str | None,
    cwd: Path,
) -> Described:
    """Turn a dispy computation into one that travels as source text.  Raises :exc:`DispyError` for others."""
    depends = list(depends or ())
    depends.sort(key=lambda item: getattr(item, "__name__", "") != INIT)
    shapes = new_shapes()
    files = sources.collect(depends, cwd, shapes)
    extra: dict[str, Any] = {"dest": relative(dest), "keep_files": cleanup is False, "preimport": True}
    around("setup", setup, extra, shapes)
    if not isinstance(cleanup, bool) and inspect.isfunction(setup) and inspect.isfunction(cleanup):
        same_arity(setup, cleanup)
    around("cleanup", cleanup, extra, shapes)
    if isinstance(computation, str):
        path = sources.program(computation)
        file = sources.read(path, path.parent.absolute())
        found = Computation(kinds.PROGRAM, computation, entry=file.path, files=(*files, file), dest=extra["dest"])
        return Described(found, frozenset())
    entry = entry_of(computation, shapes)
    if any(getattr(item, "__name__", "") == INIT for item in depends):
        shapes.call(INIT)
        extra["forked"] = True
    extra["python_bound"] = shapes.has_bytecode
    code = source_pieces.write(shapes.pieces).encode()
    name = str(getattr(getattr(computation, "func", computation), "__name__", entry))
    return Described(Computation(kinds.SOURCE, name, code, entry, files, **extra), frozenset(shapes.names))


class Described(NamedTuple):
    """A computation, and the names that its jobs find in their ``__main__``."""

    computation: Computation
    names: frozenset[str]


def new_shapes(names: Iterable[str] = ()) -> Shapes:
    """Return an empty collection of pieces that may refer to what nodes give, and to ``names``."""
    return Shapes((*GIVEN, *names))


def around(key: str, function: Callable[..., object] | bool | None, extra: dict[str, Any], shapes: Shapes) -> None:
    """Take setup or cleanup into the description."""
    if isinstance(function, functools.partial):
        logger.warning("%s is a partial: its arguments are used where a node has none of its own", key)
        extra["setup_args"] = pickle.dumps(function.args)
        function = function.func
    if inspect.isfunction(function):
        extra[key] = shapes.add(function)
    elif function is not None and not isinstance(function, bool):
        raise DispyError(f"Invalid {key}: {function!r} is not a function.")


def same_arity(setup: Callable[..., object], cleanup: Callable[..., object]) -> None:
    """Refuse a cleanup that takes another number of arguments than setup."""
    counts = [len(inspect.signature(function).parameters) for function in (setup, cleanup)]
    if counts[0] != counts[1]:
        raise DispyError(f"cleanup must take as many arguments as setup: it takes {counts[1]}, setup {counts[0]}.")


def entry_of(computation: Callable[..., object], shapes: Shapes) -> str:
    """Return the expression for a callable on the node, with what it needs put into ``shapes``."""
    if inspect.ismethod(computation):
        holder = computation.__self__
        return f"{shapes.add(holder if inspect.isclass(holder) else type(holder))}.{computation.__name__}"
    wrapped = inspect.unwrap(computation.func if isinstance(computation, functools.partial) else computation)
    if not inspect.isfunction(wrapped):
        raise DispyError(
            f"Invalid computation type: {type(computation)}. Give a function, a method, or a program's path."
        )
    owner = owner_of(computation) if inspect.isfunction(computation) else None
    if inspect.isclass(owner):
        shapes.add(owner)
        return str(computation.__qualname__)
    return shapes.add(computation)


def own_facts(args: bytes, files: tuple[File, ...]) -> dict[str, Any]:
    """Return one node's setup arguments and files as the engine takes them."""
    return {"setup_args": args, "files": [file.row() for file in files]}


def warn_about(old: Iterable[str], ip_addr: object, ext_ip_addr: object, dispy_port: int | str | None) -> None:
    """Warn about names of old releases.  Raises :exc:`DispyError` for a port that is no number."""
    for name in sorted(old):
        logger.warning('"%s" is not used any more; the master is found by itself', name)
    for name, value in (("ip_addr", ip_addr), ("ext_ip_addr", ext_ip_addr)):
        if value is not None:
            logger.warning('"%s" is deprecated, and not needed', name)
    if dispy_port is not None:
        try:
            int(dispy_port)
        except (TypeError, ValueError) as error:
            raise DispyError(f"Invalid dispy_port {dispy_port!r}: it must be a number.") from error
