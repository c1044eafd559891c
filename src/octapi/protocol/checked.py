"""Checked readers: what another process or computer says is of a known shape, or is refused with what is wrong with it.

A *reader* is a function that takes a value, and returns it as the rest of the program may use it or raises
:exc:`~octapi.errors.MessageRefused`.  Small readers make big ones::

    HELLO = record({"name": text(63), "slots": integer(1, 4096)}, {"memory": integer(0)})
    facts = HELLO(wire.unpack(body))

Whole numbers fit into 63 bits, as databases keep them; other numbers are finite; texts, lists and depth have bounds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from octapi.errors import MessageRefused
from octapi.protocol.wire import Payload
from octapi.text.escape import shown

if TYPE_CHECKING:
    import re

Reader = Callable[[Any], Any]

#: the greatest whole number, and the greatest other one
MOST: Final = (1 << 63) - 1
GREATEST: Final = 1e18
#: the latest moment that a calendar can show, in epoch seconds: the end of the year 9999
LATEST: Final = 253_402_300_799.0
#: how deep lists may lie in lists where nobody says otherwise, and how many values may be in them
DEPTH: Final = 12
VALUES: Final = 100_000
#: the longest text and the longest bytes where nobody says otherwise
TEXT: Final = 1 << 20
BYTES: Final = 1 << 32


def refuse(why: str) -> MessageRefused:
    """Return the error for a value that is wrong."""
    return MessageRefused(why)


def described(value: Any) -> str:
    """Return a few words about a value for a message."""
    if isinstance(value, bytes | str | list | tuple | dict | Payload) and len(value) > 40:
        return f"{type(value).__name__} of {len(value):,}"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of more than 64 bits"
    return shown(f"{value!r:.60}")


# ---- single values


def integer(low: int = 0, high: int = MOST) -> Reader:
    """Read a whole number from ``low`` to ``high``; truth values are none."""

    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise refuse(f"{described(value)} is no whole number from {low} to {high}")
        return value

    return read


def number(low: float = -GREATEST, high: float = GREATEST) -> Reader:
    """Read a finite number from ``low`` to ``high``."""

    def read(value: Any) -> float:
        # what is no number, and what is not finite, is between no two bounds
        if type(value) not in (int, float) or not low <= value <= high:
            raise refuse(f"{described(value)} is no number from {low:g} to {high:g}")
        found: float = value
        return found

    return read


#: a moment in epoch seconds
moment: Final = number(0.0, LATEST)


def text(limit: int = 200, pattern: re.Pattern[str] | None = None, *, is_shown: bool = False) -> Reader:
    """Read a text of at most ``limit`` characters that UTF-8 can hold; ``is_shown`` escapes it for people."""

    def read(value: Any) -> str:
        if type(value) is not str or len(value) > limit:
            raise refuse(f"{described(value)} is no text of at most {limit:,} characters")
        if pattern is not None and not pattern.fullmatch(value):
            raise refuse(f"{described(value)} is not as it must be")
        if not value.isascii():
            check_letters(value)
        return shown(value) if is_shown else value

    return read


def check_letters(value: str) -> None:
    """Raise :exc:`MessageRefused` for a text that UTF-8 cannot hold."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise refuse(f"{described(value)} holds half letters") from None


def blob(limit: int = BYTES, kinds: tuple[type, ...] = (bytes,)) -> Reader:
    """Read bytes."""

    def read(value: Any) -> Any:
        if type(value) not in kinds or len(value) > limit:
            raise refuse(f"{described(value)} are no bytes, or more than {limit:,}")
        return value

    return read


def payload(limit: int = BYTES) -> Reader:
    """Read bytes that may be large: in the head of a message or beside it."""
    return blob(limit, (bytes, Payload))


def boolean(value: Any) -> bool:
    """Read a truth value."""
    if value is not True and value is not False:
        raise refuse(f"{described(value)} is neither true nor false")
    return bool(value)


def choice(*values: str) -> Reader:
    """Read one of these texts."""

    def read(value: Any) -> str:
        if type(value) is not str or value not in values:
            raise refuse(f"{described(value)} is none of {', '.join(values)}")
        return value

    return read


def maybe(reader: Reader) -> Reader:
    """Read None, or what ``reader`` reads."""
    return lambda value: None if value is None else reader(value)


def by_type(readers: Mapping[type, Reader]) -> Reader:
    """Read with the reader of a value's own type; other types are refused."""

    def read(value: Any) -> Any:
        reader = readers.get(type(value))
        if reader is None:
            raise refuse(f"{described(value)} is none of {', '.join(kind.__name__ for kind in readers)}")
        return reader(value)

    return read


# ---- values in values


def listing(reader: Reader, most: int) -> Reader:
    """Read a list of at most ``most`` values."""

    def read(value: Any) -> list[Any]:
        if type(value) not in (list, tuple) or len(value) > most:
            raise refuse(f"{described(value)} is no list of at most {most:,}")
        found: list[Any] = []
        try:
            for part in value:
                found.append(reader(part))  # noqa: PERF401 (how many there are says which one was refused)
        except MessageRefused as error:
            raise named(len(found), error) from None
        return found

    return read


def row(*readers: Reader) -> Reader:
    """Read a list with one value for each reader."""

    def read(value: Any) -> list[Any]:
        if type(value) not in (list, tuple) or len(value) != len(readers):
            raise refuse(f"{described(value)} is no list of {len(readers)}")
        found: list[Any] = []
        try:
            for reader, part in zip(readers, value, strict=True):
                found.append(reader(part))
        except MessageRefused as error:
            raise named(len(found), error) from None
        return found

    return read


def mapping(keys: Reader, values: Reader, most: int) -> Reader:
    """Read a table with at most ``most`` entries."""

    def read(value: Any) -> dict[Any, Any]:
        if type(value) is not dict or len(value) > most:
            raise refuse(f"{described(value)} is no table of at most {most:,}")
        found, key = {}, None
        try:
            for key, part in value.items():
                found[keys(key)] = values(part)
        except MessageRefused as error:
            raise named(key, error) from None
        return found

    return read


def record(
    needed: Mapping[str, Reader], more: Mapping[str, Reader] | None = None, rest: Reader | None = None
) -> Reader:
    """Read a table with the keys of ``needed`` and, if they are there, of ``more``.

    Other keys are refused unless a reader for the ``rest`` is given; :func:`left_out` leaves them out, which lets a
    newer release say more.
    """
    known = {**needed, **(more or {})}
    must = itemgetter(*needed) if needed else nothing

    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise refuse(f"{described(value)} is no table")
        found: dict[str, Any] = {}
        key = None
        try:  # most tables have what they need and nothing else, and each batch is one
            must(value)
            for key, part in value.items():
                found[key] = known[key](part)
        except MessageRefused as error:
            raise named(key, error) from None
        except KeyError:
            return uncommon(value, known, needed, rest)
        return found

    return read


def nothing(_: Any) -> None:
    """Need no key."""


def uncommon(
    value: dict[Any, Any], known: Mapping[str, Reader], needed: Collection[str], rest: Reader | None
) -> dict[str, Any]:
    """Read a table in which keys are missing, or which has keys that nobody knows."""
    missing = [key for key in needed if key not in value]
    if missing:
        raise refuse(f"{', '.join(sorted(missing))} is missing")
    expected = {key: part for key, part in value.items() if key in known}
    strange = {key: part for key, part in value.items() if key not in known}
    if rest is None:
        raise refuse(f"{described(next(iter(strange)))} does not belong here")
    found: dict[str, Any] = record({key: known[key] for key in expected})(expected)
    found |= rest(strange)
    return found


def table(cls: type[Any], needed: Collection[str], rest: Reader | None = None) -> Reader:
    """Read a table by the class that describes it, whose fields are annotated with their readers."""
    known = annotated(cls)
    must = {name: known.pop(name) for name in needed}
    return record(must, known, rest)


def annotated(cls: type[Any]) -> dict[str, Reader]:
    """Return the readers with which the fields of a class are annotated, by name, in their order.

    A field without one is read as it is: who says it is believed.
    """
    hints = get_type_hints(cls, include_extras=True)
    return {name: getattr(hint, "__metadata__", (as_it_is,))[0] for name, hint in hints.items()}


def as_it_is(value: Any) -> Any:
    """Read what somebody says who is believed: the master."""
    return value


def or_refusal(reader: Reader) -> Reader:
    """Read what ``reader`` reads, or the refusal itself, where it is to cost less than the whole message."""

    def read(value: Any) -> Any:
        try:
            return reader(value)
        except MessageRefused as refusal:
            return refusal

    return read


def left_out(_: Any) -> dict[str, Any]:
    """Read nothing of what nobody expects."""
    return {}


def named(key: Any, error: MessageRefused) -> MessageRefused:
    """Return the error for a part of a value that is wrong, with the part's name."""
    return MessageRefused(f"{shown(f'{key!s:.40}')}: {error}")


def plain(
    depth: int = DEPTH,
    most: int = VALUES,
    size: int = BYTES,
    *,
    leaves: tuple[type, ...] = (),
    is_dask: bool = False,
) -> Reader:
    """Read plain values in lists and tables, ``depth`` deep and at most ``most``, their texts together up to ``size``.

    Keys of tables are texts; as Dask writes messages (``is_dask``) also tuples, and there are sets.  ``leaves`` are
    further types that are left as they are.
    """
    containers = (dict, list, tuple, set) if is_dask else (dict, list, tuple)

    def read(value: Any) -> Any:
        left, room = most, size
        stack = [(value, depth)]
        while stack:
            part, below = stack.pop()
            kind = type(part)
            if kind in containers:
                left -= len(part)
                if not below or left < 0:
                    raise refuse("too many values, or too deep")
                if kind is dict:
                    check_keys(part, is_dask)
                    room -= sum(map(length, part))
                    part = part.values()
                stack.extend((entry, below - 1) for entry in part)
            elif kind is str or kind is bytes:
                room -= len(part)
            else:
                check_leaf(part, leaves)
            if room < 0:
                raise refuse(f"more than {size:,} letters or bytes")
        return value

    return read


def length(key: Any) -> int:
    """Return how long a key of a table is."""
    return len(key) if type(key) is str else 16


def check_leaf(value: Any, leaves: tuple[type, ...]) -> None:
    """Raise :exc:`MessageRefused` for a single value that is not plain."""
    kind = type(value)
    if kind is int:
        if not -MOST <= value <= MOST:
            raise refuse("a whole number has more than 63 bits")
    elif kind is float:
        if not math.isfinite(value):
            raise refuse("a number is not finite")
    elif value is not None and kind is not bool and kind not in leaves:
        raise refuse(f"a {kind.__name__} is no plain value")


def check_keys(table: Mapping[Any, Any], is_dask: bool) -> None:
    """Raise :exc:`MessageRefused` for a table with keys that are no texts."""
    for key in table:
        is_good = type(key) is str or (is_dask and type(key) is tuple and all(map(is_simple, key)))
        if not is_good:
            raise refuse(f"{described(key)} is no key")


def is_simple(value: Any) -> bool:
    """Say whether a value may be a part of a key."""
    return value is None or type(value) in (str, int, bool)


# ---- JSON


def json_object(data: str | bytes) -> dict[str, Any]:
    """Read a JSON object with finite numbers.  Raises :exc:`MessageRefused`."""
    try:
        found = json.loads(data, parse_constant=not_finite)
    except (ValueError, RecursionError) as error:
        raise refuse(f"it is no JSON ({error!s:.80})") from error
    if type(found) is not dict:
        raise refuse("it is no JSON object")
    plain(depth=64, most=5_000_000)(found)
    return found


def not_finite(name: str) -> Any:
    """Refuse what Python's JSON knows besides numbers."""
    raise refuse(f"{name} is no number")
