"""Many calls of one function that travel together: what ``map`` queues.

An :class:`ItemChunk` holds the items that were taken from an iterable at one time, and their outcomes.
An :class:`ItemRange` is a piece of a chunk that waits or travels; it is split to the size of a batch.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Final, Protocol

from octapi.client.payload import call_bytes
from octapi.protocol import outcome

if TYPE_CHECKING:
    from octapi.errors import Attempt
    from octapi.protocol.computation import File
    from octapi.protocol.wire import Buffer

#: the place of an outcome that has not come
MISSING: Final[Any] = object()

#: outcomes whose error names its item
NAMED: Final = (outcome.ERROR, outcome.FAULT)

#: one item: a tuple of values that cannot be changed, or the pickle of a call, or why it cannot be pickled
Item = Any


class RawOutcome:
    """An outcome that is not a plain value: ``kind`` says what ``data`` is a pickle of."""

    __slots__ = ("data", "item", "kind")

    def __init__(self, kind: int, data: Buffer) -> None:
        self.kind = kind
        self.data = data
        #: of a failure: the item, for the note that its error has
        self.item: Item | None = None


class Unsent:
    """An item that cannot be pickled, and why."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Reader(Protocol):
    """Who waits for a page."""

    def arrived(self, page: ItemChunk, start: int, stop: int, freed: int) -> None:
        """Outcomes ``start`` to ``stop`` of a page are there, and ``freed`` bytes let go.

        It runs on the dispatcher's thread.
        """

    def printed(self, worker: str, texts: tuple[str, ...]) -> None:
        """An item's job printed these texts on ``worker``; runs on the dispatcher's thread, and must not block."""


class ItemChunk:
    """Items and their outcomes, in order; ``left`` outcomes are still missing.

    Either all items are tuples of values that cannot be changed (``is_simple``), or each is pickled.
    """

    __slots__ = ("args", "first", "is_simple", "left", "number", "reader", "values", "weight")

    def __init__(
        self, items: list[Item], reader: Reader, is_simple: bool = True, weight: int = 0, first: int = 0
    ) -> None:
        self.args = items
        #: the number of its first item among all of its map, from 0
        self.first = first
        #: the bytes that the items take at least
        self.weight = weight
        self.is_simple = is_simple
        self.values: list[Any] = [MISSING] * len(items)
        self.left = len(items)
        #: its place among the pages of its queue
        self.number = 0
        self.reader = reader

    def bytes_of(self, index: int) -> bytes | None:
        """Return one item's call as bytes, while it has no outcome."""
        item = self.args[index]
        if type(item) is tuple:
            return call_bytes(item, {})
        return item if type(item) is bytes else None

    def put(self, index: int, value: object) -> None:
        """Take one outcome; a second one is ignored."""
        if self.values[index] is MISSING:
            self.values[index] = value
            if value.__class__ is RawOutcome and value.kind in NAMED:
                value.item = self.args[index]
            self.left -= 1
            self._arrived(index, index + 1)

    def put_all(self, start: int, values: list[Any]) -> None:
        """Take the outcomes of consecutive items; those that were told before are the first of them."""
        stop = start + len(values)
        if self.values[start] is not MISSING:
            for place, value in enumerate(values, start):
                self.put(place, value)
            return
        self.values[start:stop] = values
        self.left -= len(values)
        self._arrived(start, stop)

    def _arrived(self, start: int, stop: int) -> None:
        """Let go of items that have their outcome, and tell the reader."""
        freed = 0
        if not self.is_simple:
            freed = sum(map(size_of, self.args[start:stop]))
            self.args[start:stop] = [None] * (stop - start)
        elif not self.left:
            self.args = []
            freed = self.weight
        self.reader.arrived(self, start, stop, freed)


def size_of(item: Item) -> int:
    """Return how many bytes an item that was pickled takes."""
    return len(item) if type(item) is bytes else 0


class ItemRange:
    """Items ``start`` to ``stop`` of a page."""

    __slots__ = ("attempts", "page", "past", "retries", "start", "stop", "worker")
    code = b""
    files: tuple[File, ...] = ()

    def __init__(
        self, page: ItemChunk, start: int, stop: int, worker: str | None, retries: int, attempts: int = 0
    ) -> None:
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

    def piece(self, start: int, stop: int) -> ItemRange:
        """Return a part of it; the numbers are those of the page."""
        part = ItemRange(self.page, start, stop, self.worker, self.retries, self.attempts)
        part.past = self.past
        return part

    def open_pieces(self) -> list[ItemRange]:
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
        Raises :exc:`CannotSend` when some have no pickle.
        """
        items = self.page.args[self.start : self.stop]
        if self.page.is_simple:
            return True, pickle.dumps(items, 5)
        if any(type(item) is not bytes for item in items):
            raise CannotSend
        return False, items


class CannotSend(Exception):
    """Some items of a range cannot be pickled, or are done."""
