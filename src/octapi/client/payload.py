"""From a call in the client to bytes that a slot can load."""

from __future__ import annotations

import dataclasses
import functools
import importlib.machinery
import sys
from typing import TYPE_CHECKING, Any

from octapi import pickling
from octapi.client import script_sources
from octapi.pickling import blame
from octapi.protocol import computation as kinds
from octapi.protocol.computation import Computation, File

if TYPE_CHECKING:
    from collections.abc import Callable

    #: options that slots are told, by the names of a computation's fields
    OwnOptions = tuple[tuple[str, Any], ...]


def call_bytes(args: tuple[object, ...], kwargs: dict[str, object]) -> bytes:
    """Pickle a call's arguments: by name where that works on a worker, else by value.

    Raises :exc:`pickle.PicklingError`, which says what of them cannot be pickled.
    """
    try:
        return pickling.dumps_call((), args, kwargs)
    except Exception as error:
        raise blame.for_call(args, kwargs, error) from error


def call_with(function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> bytes:
    """Pickle a call whose function travels with it.

    Raises :exc:`pickle.PicklingError`, which says what of it cannot be pickled.
    """
    try:
        return pickling.dumps_call((function,), args, kwargs)
    except Exception as error:
        raise blame.for_call(args, kwargs, error, function) from error


def unwrapped(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[Callable[..., object], tuple[object, ...], dict[str, object]]:
    """Return a call of what is inside ``functools.partial`` that means the same."""
    while type(function) is functools.partial and not function.__dict__ and not has_gaps(function):
        args = (*function.args, *args)
        kwargs = {**function.keywords, **kwargs}
        function = function.func
    return function, args, kwargs


def has_gaps(function: functools.partial[Any]) -> bool:
    """Say whether some of its arguments are places for later ones (from Python 3.14 on)."""
    gap = getattr(functools, "Placeholder", None)
    return gap is not None and any(arg is gap for arg in function.args)


def function_bytes(function: Callable[..., object]) -> bytes:
    """Pickle a callable: by name when a worker can import it, else by value.

    Raises :exc:`pickle.PicklingError`, which says what of it cannot be pickled.
    """
    from octapi.pickling import sending

    try:
        return sending.dumps(function)
    except Exception as error:
        raise blame.for_function(function, error) from error


def of_function(title: str, code: bytes, options: OwnOptions, files: tuple[File, ...]) -> Computation:
    """Describe a callable, pickled in ``code``, so that workers can run it."""
    return of_script(Computation(kinds.FUNCTION, title, code, files=files, **dict(options)))


def of_calls(title: str, is_bound: bool, options: OwnOptions, files: tuple[File, ...]) -> Computation:
    """Describe calls that bring their function; ``is_bound`` says that bytecode is among it."""
    return of_script(Computation(kinds.CALL, title, files=files, python_bound=is_bound, **dict(options)))


def of_script(found: Computation) -> Computation:
    """Add what jobs of this script need besides their function."""
    return dataclasses.replace(
        found,
        python_bound=found.python_bound or has_bytecode(found.code) or any(map(is_bound, found.files)),
        sources=script_sources.of(found.code),
        argv=tuple(map(str, sys.argv)),
        logging=script_sources.logging_of_script(),
    )


def has_bytecode(code: bytes) -> bool:
    """Say whether a pickle holds bytecode, which only the same Python minor version can load."""
    return b"\x07marshal" in code or b"CodeType" in code


def is_bound(file: File) -> bool:
    """Say whether a file is a module that only the same Python minor version can load."""
    return file.path.endswith((importlib.machinery.EXTENSION_SUFFIXES[0], ".pyc"))


def name(function: Callable[..., object]) -> str:
    """Return what to call a callable in messages."""
    if isinstance(function, functools.partial):
        return name(function.func)
    try:
        found = getattr(function, "__qualname__", None)
    except Exception:  # its own way of looking attributes up fails: its class has a name
        found = None
    return found if isinstance(found, str) else type(function).__qualname__
