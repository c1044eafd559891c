"""From a call in the client to bytes that a slot can load."""

from __future__ import annotations

import functools
import pickle
import sys
from typing import TYPE_CHECKING, Any

from octapi.dispatch import computation as kinds
from octapi.dispatch.computation import Computation, File

if TYPE_CHECKING:
    import types
    from collections.abc import Callable


def call_bytes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Pickle a call's arguments: by name where that works on a worker, else by value.

    Raises whatever pickling raises.
    """
    try:
        data = pickle.dumps((args, kwargs), 5)
        if b"__main__" not in data:
            return data
    except Exception as error:  # cloudpickle has the last word, and the better message
        del error
    import cloudpickle

    packed: bytes = cloudpickle.dumps((args, kwargs), 5)
    return packed


def call_with(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Pickle a call whose function travels with it.  Raises whatever pickling raises."""
    try:
        data = pickle.dumps((function, args, kwargs), 5)
        if b"__main__" not in data:
            return data
    except Exception as error:  # cloudpickle has the last word, and the better message
        del error
    import cloudpickle

    packed: bytes = cloudpickle.dumps((function, args, kwargs), 5)
    return packed


def unwrapped(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
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


def function_bytes(function: Callable[..., Any]) -> bytes:
    """Pickle a callable: by name when a worker can import it, else by value.  Raises whatever pickling raises."""
    import cloudpickle

    code: bytes = cloudpickle.dumps(function, 5)
    return code


def of_function(title: str, code: bytes, timeout_s: float | None, files: tuple[File, ...]) -> Computation:
    """Describe a callable, pickled in ``code``, so that workers can run it."""
    bound = has_bytecode(code)
    return Computation(kinds.FUNCTION, title, code, files=files, python_bound=bound, timeout_s=timeout_s)


def of_calls(title: str, is_bound: bool, timeout_s: float | None, files: tuple[File, ...]) -> Computation:
    """Describe calls that bring their function; ``is_bound`` says that bytecode is among it."""
    return Computation(kinds.CALL, title, files=files, python_bound=is_bound, timeout_s=timeout_s)


def has_bytecode(code: bytes) -> bool:
    """Say whether a cloudpickle holds bytecode, which only the same Python minor version can load."""
    return b"_builtin_type" in code or b"_make_function" in code or b"_function_setstate" in code


def name(function: Callable[..., Any]) -> str:
    """Return what to call a callable in messages."""
    if isinstance(function, functools.partial):
        return name(function.func)
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def main_module() -> types.ModuleType:
    """Return the script's module."""
    return sys.modules["__main__"]
