"""Exceptions of jobs, packed so that they come back as themselves where that can be done at all.

pickle calls an exception's class with its ``args``, which many constructors do not take; here the class, the ``args``
and each attribute travel apart, and what cannot travel is left out and said in a note.  Causes, contexts and the
members of groups go along.
"""

from __future__ import annotations

import contextlib
import pickle
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: exceptions of one chain, or in one group, that travel; the text of the traceback tells of the others
MOST: Final = 100
#: the flag of classes that were made by a class statement
HEAP: Final = 1 << 9
#: methods by which a class says how it is pickled
OWN_WAYS: Final = frozenset(
    {"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__"}
)

#: one exception: its class, arguments, attributes, whole pickle, members, links to others by their place
Packed = dict[str, Any]


class Packer:
    """Packs one exception with all those it hangs together with."""

    def __init__(self, dumps: Callable[[Any], bytes]) -> None:
        self._dumps = dumps
        self._places: dict[int, int] = {}
        self._rows: list[Packed] = []

    def pack(self, error: BaseException) -> list[Packed]:
        """Return the rows of an exception and of those it leads to; its own is the first."""
        self.place(error)
        return self._rows

    def place(self, error: BaseException | None) -> int | None:
        """Return the row of an exception, or None for none, or for one too many."""
        if error is None:
            return None
        found = self._places.get(id(error))
        if found is None and len(self._rows) < MOST:
            found = self._places[id(error)] = len(self._rows)
            row: Packed = {}
            self._rows.append(row)
            self.fill(row, error)
        return found

    def fill(self, row: Packed, error: BaseException) -> None:
        """Describe one exception."""
        lost: list[str] = []
        row["lost"] = lost
        row["class"] = self._dumps(type(error))
        row["whole"] = self.whole(error)
        args, state = parts(error)
        if isinstance(error, BaseExceptionGroup):
            row["members"] = [self.place(member) for member in error.exceptions]
            args = (error.message,)
        row["args"] = [
            self.value(f"argument {place}", value, lost) or self._dumps(repr(value))
            for place, value in enumerate(args, 1)
        ]
        pairs = ((key, self.value(key, value, lost)) for key, value in state.items())
        row["state"] = {key: data for key, data in pairs if data is not None}
        row["suppress"] = error.__suppress_context__
        row["cause"] = self.place(error.__cause__)
        row["context"] = self.place(error.__context__)

    def whole(self, error: BaseException) -> bytes:
        """Return the pickle of an exception whose class says itself how to pickle it, else nothing."""
        kind = type(error)
        own = {name for base in kind.__mro__ if base.__flags__ & HEAP for name in base.__dict__}
        if not own & OWN_WAYS or isinstance(error, BaseExceptionGroup):
            return b""
        try:
            return self._dumps(error)
        except Exception:  # its parts are sent in any case
            return b""

    def value(self, name: str, value: object, lost: list[str]) -> bytes | None:
        """Pickle one value; one that cannot be pickled is named in ``lost``."""
        try:
            return self._dumps(value)
        except Exception as why:
            lost.append(f"{name} (of type {type(value).__name__}) did not travel: {why}")
            return None


def parts(error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments and the attributes of an exception as its built-in class gives them."""
    base = builtin_base(type(error))
    found: Any = base.__reduce__(error)
    state = found[2] if len(found) > 2 and isinstance(found[2], dict) else {}
    return found[1], dict(state)


def builtin_base(kind: type[BaseException]) -> Any:
    """Return the nearest base of an exception's class that is not made by a class statement."""
    return next(base for base in kind.__mro__ if not base.__flags__ & HEAP)


class Unpacker:
    """Makes exceptions again."""

    def __init__(self, rows: list[Packed], loads: Callable[[bytes], Any]) -> None:
        self._rows = rows
        self._loads = loads
        self._made: dict[int, BaseException | None] = {}

    def unpack(self) -> BaseException:
        """Return the first exception.  Raises whatever loading its class raises."""
        for place in reversed(range(len(self._rows))):
            try:
                self.make(place)
            except Exception:
                if place == 0:
                    raise
                self._made[place] = None  # the text of the traceback tells of it
        for place, error in self._made.items():
            if error is not None:
                self.link(error, self._rows[place])
        error = self._made[0]
        assert error is not None
        return error

    def make(self, place: int) -> BaseException | None:
        """Make one exception, and the members of a group before it."""
        if place in self._made:
            return self._made[place]
        row = self._rows[place]
        members = [self.make(member) for member in row.get("members", ()) if member is not None and member > place]
        error = self.rebuilt(row, [member for member in members if member is not None])
        self._made[place] = error
        return error

    def rebuilt(self, row: Packed, members: list[BaseException]) -> BaseException:
        """Make one exception of its row: as its class wishes, else of its parts."""
        if row["whole"]:
            with contextlib.suppress(Exception):
                found = self._loads(row["whole"])
                if isinstance(found, BaseException):
                    return found
        kind = self._loads(row["class"])
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"{kind!r} is no exception class")
        args = tuple(self._loads(data) for data in row["args"])
        if "members" in row:
            args = (*args, members)
        error = made(kind, args)
        for key, data in row["state"].items():
            try:
                set_attribute(error, key, self._loads(data))
            except Exception as why:
                row["lost"].append(f"{key} could not be made again here: {type(why).__name__}: {why}")
        for text in row["lost"]:
            set_attribute(error, "__notes__", [*getattr(error, "__notes__", ()), f"(octapi: {text})"])
        return error

    def link(self, error: BaseException, row: Packed) -> None:
        """Set the cause and the context of an exception."""
        for link in ("cause", "context"):
            if row[link] is not None:
                object.__setattr__(error, f"__{link}__", self._made.get(row[link]))
        object.__setattr__(error, "__suppress_context__", row["suppress"])


def made(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make an exception with these ``args``: by calling its class, or past its constructor where that gives another."""
    if kind.__init__ is BaseException.__init__ or not kind.__flags__ & HEAP:
        return kind(*args)
    with contextlib.suppress(Exception):
        error = kind(*args)
        if type(error) is kind and same(parts(error)[0], args):
            return error
    base = builtin_base(kind)
    with contextlib.suppress(Exception):
        error = kind.__new__(kind, *args)
        if type(error) is kind:
            base.__init__(error, *args)
            return error
    found: BaseException = base.__new__(kind, *args)
    base.__init__(found, *args)
    return found


def same(found: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    """Say whether two exceptions have the same arguments."""
    return len(found) == len(wanted) and all(
        type(a) is type(b) and bool(a == b) for a, b in zip(found, wanted, strict=True)
    )


def set_attribute(error: BaseException, key: str, value: object) -> None:
    """Set an attribute, also one that its class lets nobody set."""
    try:
        setattr(error, key, value)
    except Exception:
        error.__dict__[key] = value


class Tolerant(pickle.Unpickler):
    """Unpickles values that hold exceptions whose classes cannot be called with their ``args``."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names; for an exception's class, what makes one past its constructor."""
        found = super().find_class(module, name)
        if isinstance(found, type) and issubclass(found, BaseException) and found.__flags__ & HEAP:
            return lambda *args: made(found, args)
        return found


def pack(error: BaseException, dumps: Callable[[Any], bytes]) -> bytes:
    """Pack an exception.  Raises whatever pickling its class raises."""
    return pickle.dumps(Packer(dumps).pack(error), 5)


def unpack(data: bytes, loads: Callable[[bytes], Any]) -> BaseException:
    """Make an exception again.  Raises whatever unpickling its class raises."""
    return Unpacker(pickle.loads(data), loads).unpack()
