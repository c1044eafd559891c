"""What ``map`` takes from its iterables: each item as it is at the moment when it is taken."""

from __future__ import annotations

import itertools
import operator
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from octapi.client.item_range import Unsent
from octapi.client.payload import call_bytes
from octapi.protocol.plain import SIMPLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from octapi.client.item_range import Item

#: containers of the language, which give their items without waiting for anybody
CONTAINERS: Final = frozenset(
    {list, tuple, range, dict, set, frozenset, str, bytes, deque}
    | {type({}.keys()), type({}.values()), type({}.items())}
)  # fmt: skip
#: iterators that never wait, and never end
ENDLESS: Final = frozenset({itertools.repeat, itertools.count})
#: pickled items that travel to the queue at once, in bytes
PAGE_BYTES: Final = 8 << 20


class Items:
    """The items of the iterables, side by side as by ``zip``.  Raises TypeError for what is no iterable.

    ``is_at_hand`` says that taking the first ``buffersize`` items waits for nobody and runs no code of the user's: they
    are taken at the call.  ``is_simple`` says that all items are known to be values that cannot be changed,
    ``is_endless`` that there is no last one.
    """

    def __init__(self, iterables: tuple[Iterable[object], ...], buffersize: int) -> None:
        ends = [it for it in iterables if type(it) not in ENDLESS]
        self.is_at_hand = bool(ends) and all(map(is_at_hand, ends))
        self.is_endless = bool(iterables) and all(map(is_endless, iterables))
        sources = [copied(it) for it in iterables]
        self.is_simple = self.is_at_hand and all(is_simple(source, buffersize) for source in sources)
        self._rows: Iterator[tuple[object, ...]] = zip(*sources, strict=False)

    def take(self, count: int, into: list[Item]) -> bool:
        """Add up to ``count`` items to a list, fewer when they are large; say whether that was all there are."""
        before = len(into)
        if self.is_simple:
            into += itertools.islice(self._rows, count)
            return len(into) - before < count
        room = PAGE_BYTES
        append = into.append
        for args in itertools.islice(self._rows, count):
            for value in args:
                if type(value) not in SIMPLE:
                    item = frozen(args)
                    append(item)
                    room -= len(item) if type(item) is bytes else 0
                    break
            else:
                append(args)
            if room < 0:
                return False
        return len(into) - before < count


def frozen(args: tuple[object, ...]) -> bytes | Unsent:
    """Pickle one item as it is now; one that cannot be pickled is an error of its own, in its place."""
    try:
        return call_bytes(args, {})
    except Exception as error:
        return Unsent(f"An item cannot be pickled: {type(error).__name__}: {error}")


def page_of(items: list[Item]) -> tuple[bool, list[Item], int]:
    """Return whether items are all simple, the items in one form, and the bytes that they take at least."""
    if set(map(type, items)) <= {tuple}:
        return True, items, weight(items)
    pickled = [frozen(item) if type(item) is tuple else item for item in items]
    return False, pickled, sum(len(item) for item in pickled if type(item) is bytes)


def weight(items: list[Item]) -> int:
    """Estimate what simple items take, by three of them; only texts and bytes can be large."""
    samples = items[:: max(1, len(items) // 3)]
    most = max((len(value) for args in samples for value in args if type(value) in (str, bytes)), default=0)
    return most * len(items)


def is_at_hand(iterable: object) -> bool:
    """Say whether an iterable holds its items already."""
    return type(iterable) in CONTAINERS or hasattr(iterable, "__array__") or is_buffer(iterable)


def is_buffer(iterable: Any) -> bool:
    """Say whether an iterable is a piece of memory."""
    try:
        memoryview(iterable).release()
    except (TypeError, ValueError, BufferError):
        return False
    return True


def is_endless(iterable: object) -> bool:
    """Say whether an iterable is known to have no end."""
    if type(iterable) is itertools.repeat:
        return operator.length_hint(iterable, -1) < 0
    return type(iterable) in (itertools.count, itertools.cycle)


def copied(iterable: Iterable[object]) -> Iterable[object]:
    """Return what gives the items that a container has now, whatever becomes of it."""
    return tuple(iterable) if type(iterable) in CONTAINERS - {range, tuple} else iterable


def is_simple(source: Iterable[object], most: int) -> bool:
    """Say whether a container is known to hold only values that cannot be changed; long ones are not looked through."""
    if type(source) is range:
        return True
    if type(source) is itertools.repeat and operator.length_hint(source, -1) < 0:
        return type(next(source)) in SIMPLE  # it is endless: nothing is lost
    return type(source) is tuple and len(source) <= most and SIMPLE.issuperset(map(type, source))
