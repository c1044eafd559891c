"""From what scripts pass to JobCluster to a computation that travels as source text."""

from __future__ import annotations

import functools
import inspect
import pickle
from typing import TYPE_CHECKING, Any

from octapi.dispatch import computation as kinds
from octapi.dispatch.computation import Computation, File
from octapi.dispy import sources
from octapi.dispy.logger import logger
from octapi.errors import DispyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INIT = "init_depends"


def checked(callback: Any, count: int, what: str) -> Any:
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


def interval(value: Any, least: float, most: float, name: str) -> float | None:
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


def relative(dest: Any) -> str:
    """Return ``dest_path`` as a directory below the node's own."""
    text = str(dest or "")
    if text.startswith("/"):
        logger.warning('dest_path "%s" is taken below the node\'s directory', text)
    return text.lstrip("/")


def describe(computation: Any, depends: Any, setup: Any, cleanup: Any, dest: Any, cwd: Path) -> Computation:
    """Turn a dispy computation into one that travels as source text.  Raises :exc:`DispyError` for others."""
    depends = list(depends or ())
    depends.sort(key=lambda item: getattr(item, "__name__", "") != INIT)
    text, files = sources.collect(depends, cwd)
    extra: dict[str, Any] = {"dest": relative(dest), "keep_files": cleanup is False, "preimport": True}
    text += around("setup", setup, extra)
    if not isinstance(cleanup, bool) and inspect.isfunction(setup) and inspect.isfunction(cleanup):
        same_arity(setup, cleanup)
    text += around("cleanup", cleanup, extra)
    if isinstance(computation, str):
        path = sources.program(computation)
        file = sources.read(path, path.parent.absolute())
        return Computation(kinds.PROGRAM, computation, entry=file.path, files=(*files, file), dest=extra["dest"])
    entry, source = callable_source(computation)
    if source not in text:
        text += source
    if any(getattr(item, "__name__", "") == INIT for item in depends):
        text += f"{INIT}()\n"
        extra["forked"] = True
    return Computation(kinds.SOURCE, computation.__name__, text.encode(), entry, files, **extra)


def around(key: str, function: Any, extra: dict[str, Any]) -> str:
    """Take setup or cleanup into the description; return its source."""
    if isinstance(function, functools.partial):
        logger.warning("%s is a partial: its arguments are used where a node has none of its own", key)
        extra["setup_args"] = pickle.dumps(function.args)
        function = function.func
    if inspect.isfunction(function):
        extra[key] = function.__name__
        return sources.source_of(function)
    if function is not None and not isinstance(function, bool):
        raise DispyError(f"Invalid {key}: {function!r} is not a function.")
    return ""


def same_arity(setup: Callable[..., Any], cleanup: Callable[..., Any]) -> None:
    """Refuse a cleanup that takes another number of arguments than setup."""
    counts = [len(inspect.signature(function).parameters) for function in (setup, cleanup)]
    if counts[0] != counts[1]:
        raise DispyError(f"cleanup must take as many arguments as setup: it takes {counts[1]}, setup {counts[0]}.")


def callable_source(computation: Callable[..., Any]) -> tuple[str, str]:
    """Return the expression for a callable on the node, and the source that defines it."""
    if inspect.ismethod(computation):
        owner = type(computation.__self__)
        return f"{owner.__name__}.{computation.__name__}", sources.source_of(owner)
    if not inspect.isfunction(computation):
        raise DispyError(f"Invalid computation type: {type(computation)}")
    if "." in computation.__qualname__ and "<locals>" not in computation.__qualname__:
        return computation.__qualname__, ""
    source = sources.source_of(computation)
    compile(source, computation.__name__, "exec")
    return computation.__name__, source


def own_facts(args: bytes, files: tuple[File, ...]) -> dict[str, Any]:
    """Return one node's setup arguments and files as the engine takes them."""
    return {"setup_args": args, "files": [(f.path, f.data, f.mode, f.mtime) for f in files]}


def warn_about(old: dict[str, Any], ip_addr: Any, ext_ip_addr: Any, dispy_port: Any) -> None:
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
