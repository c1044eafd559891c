"""What it was that could not be pickled: named, so that its owner finds it."""

from __future__ import annotations

import functools
import itertools
import pickle
import sys
import types
from typing import TYPE_CHECKING, Any, Final

from octapi.pickling.ownership import is_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: things that are tried before the search is given up
TRIES: Final = 2000
#: how deep the search goes
DEPTH: Final = 12

#: the way to a thing in words, from the outside in, and the thing
Found = tuple[tuple[str, ...], Any]


def for_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception, function: Callable[..., Any] | None = None
) -> pickle.PicklingError:
    """Return an error that says which argument cannot be pickled, and what in it."""
    things: list[tuple[str, Any]] = [(f"argument {place}", value) for place, value in enumerate(args, 1)]
    things += [(f"argument {name}=", value) for name, value in kwargs.items()]
    if function is not None:
        things.append((f"the function {name_of(function)}", function))
    return said(first_culprit(things), error)


def for_function(function: Callable[..., Any], error: Exception) -> pickle.PicklingError:
    """Return an error that says what a function holds that cannot be pickled."""
    return said(first_culprit([(f"the function {name_of(function)}", function)]), error)


def in_result(value: object, error: Exception, dumps: Callable[[Any], bytes]) -> str:
    """Return a sentence that says what in a result cannot be pickled."""
    return str(said(Search(dumps).first([("its result", value)], 0), error))


def said(found: Found | None, error: Exception) -> pickle.PicklingError:
    """Return an error that names what was found."""
    reason = f"{type(error).__name__}: {error}"
    if found is None:
        return pickle.PicklingError(reason)
    way, value = found
    where = ", in it ".join(way)
    return pickle.PicklingError(f"{where}, of type {type_of(value)}, cannot be pickled ({reason}). {advice(value)}")


def advice(value: object) -> str:
    """Say what to do about a thing that does not travel."""
    if type(value).__module__.startswith("octapi.cluster"):
        return "A Cluster stays in the script: hand over what the job needs, not the cluster."
    return "Make it inside the function, or hand over what it is made from."


def type_of(value: object) -> str:
    """Return the full name of a thing's type."""
    kind = type(value)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def name_of(function: object) -> str:
    """Return what to call a callable."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def first_culprit(things: list[tuple[str, Any]]) -> Found | None:
    """Return the first thing that cannot be pickled for a slot, as far in as it can be told."""
    from octapi import pickling

    return Search(pickling.dumps).first(things, 0)


class Search:
    """Looks for what cannot be pickled, from the outside in."""

    def __init__(self, dumps: Callable[[Any], bytes]) -> None:
        self._dumps = dumps
        self._left = TRIES
        self._seen: set[int] = set()

    def first(self, things: list[tuple[str, Any]], depth: int) -> Found | None:
        """Return the way to the first thing that cannot be pickled, and that thing."""
        for name, value in things:
            if id(value) in self._seen or not self.fails(value):
                continue
            self._seen.add(id(value))
            inside = self.first(list(itertools.islice(parts(value), TRIES)), depth + 1) if depth < DEPTH else None
            if inside is None:
                return (name,), value
            return (name, *inside[0]), inside[1]
        return None

    def fails(self, value: object) -> bool:
        """Say whether a thing cannot be pickled by itself."""
        self._left -= 1
        if self._left < 0:
            return False
        try:
            self._dumps(value)
        except Exception:  # whatever it is: this is the question
            return True
        return False


def parts(value: object) -> Iterator[tuple[str, Any]]:
    """Yield what a thing holds that is pickled with it."""
    if isinstance(value, types.FunctionType):
        yield from parts_of_function(value)
    elif isinstance(value, types.MethodType):
        yield f"the object of {name_of(value)}", value.__self__
    elif isinstance(value, functools.partial):
        yield from [("its function", value.func), ("its arguments", value.args), ("its arguments", value.keywords)]
    elif isinstance(value, dict):
        yield from ((f"[{short(key)}]", item) for key, item in list(value.items()))
        yield from ((f"the key {short(key)}", key) for key in list(value))
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{place}]", item) for place, item in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from (("a member", item) for item in value)
    elif isinstance(value, type):
        yield from ((f"the class attribute {key}", item) for key, item in list(vars(value).items()))
    else:
        yield from parts_of_object(value)


def parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what travels with a function."""
    from cloudpickle import cloudpickle

    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is not None:
        yield "the function that it wraps", wrapped
    for name in cloudpickle._extract_code_globals(function.__code__):
        if name in function.__globals__:
            yield f"the global {name}", function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"the variable {name} of the function around it", cell.cell_contents
        except ValueError:  # not set yet
            continue
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield "a default argument", value
    yield from ((f"the attribute {key}", item) for key, item in list(function.__dict__.items()))


def parts_of_object(value: object) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of an object of the user's own class, and that class; nobody can mend others."""
    owner = type(value).__module__
    if owner != "__main__" and not is_own(sys.modules.get(owner)):
        return
    yield from ((f"the attribute {key}", item) for key, item in list(getattr(value, "__dict__", {}).items()))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                yield f"the attribute {name}", getattr(value, name)
    yield "its class", type(value)


def short(key: object) -> str:
    """Return a key as people write it, if that is short."""
    text = repr(key)
    return text if len(text) <= 60 else f"{text[:57]}..."
