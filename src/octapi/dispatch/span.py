"""Many calls of one function that travel together: what ``map`` queues.

A :class:`Page` holds the items that were taken from an iterable at one time, and their outcomes.
A :class:`Span` is a piece of a page that waits or travels; it is split to the size of a batch.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Final, Protocol

from octapi.dispatch.payload import call_bytes

if TYPE_CHECKING:
    from octapi.dispatch.computation import File
    from octapi.errors import Attempt

#: the place of an outcome that has not come
MISSING: Final[Any] = object()
#: values that cannot be changed: sharing one between jobs of a batch cannot be noticed
SIMPLE: Final = frozenset({int, float, str, bytes, bool, complex, type(None)})

Args = tuple[Any, ...]


class Failed:
    """An outcome that is not a plain value: ``kind`` says what ``data`` is a pickle of."""

    __slots__ = ("data", "kind")

    def __init__(self, kind: int, data: bytes) -> None:
        self.kind = kind
        self.data = data


class Reader(Protocol):
    """Who waits for a page."""

    def arrived(self, page: Page, start: int, stop: int) -> None:
        """Outcomes ``start`` to ``stop`` of a page are there; runs on the dispatcher's thread."""


class Page:
    """Items and their outcomes, in order; ``left`` outcomes are still missing."""

    __slots__ = ("args", "left", "number", "reader", "values")

    def __init__(self, args: list[Args], reader: Reader) -> None:
        self.args = args
        self.values: list[Any] = [MISSING] * len(args)
        self.left = len(args)
        #: its place among the pages of its lane
        self.number = 0
        self.reader = reader

    def put(self, index: int, value: Any) -> None:
        """Take one outcome; a second one is ignored."""
        if self.values[index] is MISSING:
            self.values[index] = value
            self.left -= 1
            self.reader.arrived(self, index, index + 1)

    def put_all(self, start: int, values: list[Any]) -> None:
        """Take the outcomes of consecutive items; those that were told before are the first of them."""
        stop = start + len(values)
        if self.values[start] is not MISSING:
            for place, value in enumerate(values, start):
                self.put(place, value)
            return
        self.values[start:stop] = values
        self.left -= len(values)
        self.reader.arrived(self, start, stop)


class Span:
    """Items ``start`` to ``stop`` of a page."""

    __slots__ = ("attempts", "page", "past", "retries", "start", "stop", "worker")
    code = b""
    files: tuple[File, ...] = ()

    def __init__(self, page: Page, start: int, stop: int, worker: str | None, retries: int, attempts: int = 0) -> None:
        self.page = page
        self.start = start
        self.stop = stop
        self.worker = worker
        self.retries = retries
        self.attempts = attempts
        #: what came of its starts so far
        self.past: tuple[Attempt, ...] = ()

    def __len__(self) -> int:
        return self.stop - self.start

    def piece(self, start: int, stop: int) -> Span:
        """Return a part of it; the numbers are those of the page."""
        part = Span(self.page, start, stop, self.worker, self.retries, self.attempts)
        part.past = self.past
        return part

    def open_pieces(self) -> list[Span]:
        """Return the parts that have no outcome."""
        found = []
        values = self.page.values
        start = self.start
        while start < self.stop:
            if values[start] is not MISSING:
                start += 1
                continue
            stop = start
            while stop < self.stop and values[stop] is MISSING:
                stop += 1
            found.append(self.piece(start, stop))
            start = stop
        return found

    def packed(self) -> tuple[bool, Any]:
        """Return whether all items are simple, and one pickle of them, or else a list of pickles.

        Items that can be changed are pickled one by one: a list given to two jobs must become two lists.
        Raises whatever pickling raises.
        """
        items = self.page.args[self.start : self.stop]
        if all(value.__class__ in SIMPLE for args in items for value in args):
            return True, pickle.dumps(items, 5)
        return False, [call_bytes(args, {}) for args in items]
