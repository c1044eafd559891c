"""How a callable travels: as a computation of its own, known by its content, or with each job.

A function whose content stays the same is pickled once; one that reaches what can change unseen is pickled at each
call and known again by its bytes; one that is another at each call (``lambda n=n: ...`` in a loop), a bound method or
any other object travels with each job.
"""

from __future__ import annotations

import hashlib
import itertools
import types
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from octapi.client import payload
from octapi.pickling.snapshot import by_name, is_as_named, same, signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.pickling.snapshot import Tokens

#: functions that are remembered
REMEMBERED: Final = 1000
#: places in source text of which it is remembered how often their functions changed
PLACES: Final = 1000
#: so many contents of one place in a row have a computation each; the next ones travel with their jobs
CONTENTS: Final = 4
#: a place whose functions travel with their jobs is looked at again after so many calls
AGAIN: Final = 32
#: and a function that is still the same after so many gets a computation
STEADY: Final = 4


LASTING: Final = (types.FunctionType, type)


class Content(NamedTuple):
    """A callable's content: its digest, and its pickle if it has just been made."""

    digest: bytes
    data: bytes | None = None


class Entry:
    """A function, and what it was when it was looked at last."""

    __slots__ = ("content", "is_named", "ref", "tokens", "uses")

    def __init__(self, ref: weakref.ref[Any], tokens: Tokens, content: Content | None) -> None:
        self.ref = ref
        self.tokens = tokens
        #: None: it travels with its jobs
        self.content = content
        self.uses = 1
        #: it travels by its name, so that there is little to look at
        self.is_named = content is not None and is_as_named(ref(), tokens)


class Place:
    """A place in source text, and how often the content of its functions changed lately."""

    __slots__ = ("calls", "changes", "last")

    def __init__(self) -> None:
        self.changes = 0
        self.last = b""
        self.calls = itertools.count(1)


class Callables:
    """What is known of the callables of one cluster; it keeps none of them alive."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._places: dict[Any, Place] = {}

    def content(self, function: Callable[..., object]) -> Content | None:
        """Return a callable's content as it is now; None for one that is to travel with its job.

        Raises whatever pickling raises.
        """
        entry = self._entries.get(id(function))
        if entry is None and not is_lasting(function):
            return None
        if entry is not None and entry.is_named and entry.ref() is function and is_as_named(function, entry.tokens):
            return entry.content
        tokens = signature(function)
        if entry is not None and entry.ref() is function and same(entry.tokens, tokens):
            if entry.content is not None:
                return entry.content
            entry.uses += 1
            is_steady = entry.uses >= STEADY
        else:
            is_steady = False
        place = self._place(function)
        if place.changes >= CONTENTS and not is_steady and next(place.calls) % AGAIN:
            self._remember(function, tokens, None)
            return None
        return self._look(function, tokens, place, is_steady)

    def _look(
        self, function: Callable[..., object], tokens: Tokens | None, place: Place, is_steady: bool
    ) -> Content | None:
        """Pickle a function, and decide by its bytes."""
        content = fresh(function)
        if content.digest == place.last:
            place.changes = 0
        else:
            place.changes += 1
            place.last = content.digest
            if place.changes > CONTENTS and not is_steady:
                self._remember(function, tokens, None)
                return None
        if same(tokens, signature(function)):  # nobody changed it meanwhile
            self._remember(function, tokens, Content(content.digest))
        return content

    def _place(self, function: Callable[..., object]) -> Place:
        key = place_of(function)
        found = self._places.get(key)
        if found is None:
            if len(self._places) >= PLACES:
                self._places.clear()
            found = self._places[key] = Place()
        return found

    def _remember(self, function: Callable[..., object], tokens: Tokens | None, content: Content | None) -> None:
        entries, key = self._entries, id(function)
        old = entries.get(key)
        if tokens is None:
            return
        if content is None and old is not None and old.ref() is function and same(old.tokens, tokens):
            return
        if len(entries) >= REMEMBERED:
            entries.clear()

        def gone(ref: weakref.ref[Any]) -> None:
            entry = entries.get(key)
            if entry is not None and entry.ref is ref:
                entries.pop(key, None)

        entries[key] = Entry(weakref.ref(function, gone), tokens, content)


def fresh(function: Callable[..., object]) -> Content:
    """Pickle a callable as it is now.  Raises whatever pickling raises."""
    data = payload.function_bytes(function)
    return Content(hashlib.blake2b(data, digest_size=16).digest(), data)


def is_lasting(function: Callable[..., object]) -> bool:
    """Say whether a callable may have a computation of its own: a function, a class, or what travels by its name."""
    if isinstance(function, LASTING):
        return True
    return type(function) is types.BuiltinFunctionType and by_name(function)


def place_of(function: Callable[..., Any]) -> Any:
    """Name the place in source text that a function or class comes from."""
    code = getattr(function, "__code__", None)
    if code is None:
        return function.__module__, function.__qualname__
    return code.co_filename, code.co_qualname, code.co_firstlineno
