"""The results of a ``map``: an iterator that feeds the cluster and is fed by it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from octapi.client.echo import Echo
from octapi.client.item_range import MISSING, ItemChunk, ItemRange, RawOutcome
from octapi.client.items import page_of
from octapi.client.payload import call_bytes
from octapi.errors import ClusterClosed
from octapi.job import read
from octapi.pickling.arguments import shortened
from octapi.protocol import outcome
from octapi.text.stderr import say

if TYPE_CHECKING:
    from octapi.client.item_range import Item
    from octapi.client.items import Items
    from octapi.client.queue import ComputationQueue
    from octapi.options import Options

T = TypeVar("T")

#: a page is made as large as this share of the buffer, if the iterable gives so many items quickly
SHARE = 8
#: an iterable that takes longer than this for a page gets smaller pages, in seconds
PAGE_S = 0.005
#: items are sent after this time at the latest, also if the iterable gives no more now, in seconds
STALL_S = 0.01
#: how often the end of a script says that an iterable gives more and more, in seconds
SPEAK_S = 5.0
#: what items that were taken and have no outcome may take, in bytes; more are taken when there is room
AHEAD_BYTES = 256 << 20
#: items that cannot change are taken at the call if there are no more than this
QUICK = 2048


class Abandoned:
    """The place of an outcome that arrives in another process."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Results(Iterator[T]):
    """The iterator that ``map`` returns.

    A thread of its own takes items from the iterable, never more than ``buffersize`` ahead of the
    reader.  Reading raises what a job raised, and ends the work then; ``timeout`` seconds after the
    call it raises TimeoutError.  Iterators that nobody reads work to the end.
    """

    def __init__(
        self,
        queue: ComputationQueue,
        items: Items,
        options: Options,
        timeout: float | None,
        buffersize: int,
        ordered: bool,
        on_end: Callable[[Results[T]], None],
    ) -> None:
        self.queue = queue
        self._items = items
        self._options = options
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._buffersize = buffersize
        self._on_end = on_end
        self._pages: deque[ItemChunk] = deque()
        self._ready: deque[tuple[ItemChunk, int, int]] | None = None if ordered else deque()
        #: what was taken of the page that is being filled, how much of it is on its way, and how many came before it
        self._taken: list[Item] = []
        self._sent = 0
        self._filled = 0
        self._size = 1
        self._outstanding = 0
        self._ahead = 0
        self._unread = 0
        self._closed = False
        self._exhausted = False
        self._unbounded = False
        self._error: BaseException | None = None
        self._change = threading.Condition()
        self._sending = threading.RLock()
        self._waiting = 0
        #: nobody will read on, and there is no last item: what was taken is all
        self._is_enough = False
        self._echo = Echo(queue.computation.name)
        self._values: Iterator[T] = self._in_order() if ordered else self._as_ready()
        self.total = 0
        self.done = 0

    def start(self) -> None:
        """Take items: those at hand at once, the others, and what is too much for now, in a thread."""
        if self._items.is_at_hand:
            self._feed(QUICK if self._items.is_simple else self._buffersize)
        if not self._exhausted:
            threading.Thread(target=self._feed, name="octapi-map", daemon=True).start()
            self._watch(-1)

    # ---- the feeder

    def _feed(self, most: int | None = None) -> None:
        """Take items to the end; with ``most`` only so many, and not more than there is room for."""
        is_over = False
        try:
            while not is_over and self._room(is_patient=most is None):
                if most is not None and self.total >= most:
                    return
                is_over = self._fill()
        except Exception as error:  # it is the reader's, who gets it in its place
            self._error, is_over = error, True
        except BaseException as error:  # Ctrl-C at the call ends the call
            if most is not None:
                self.close()
                raise
            self._error, is_over = error, True
        if is_over or most is None:
            self._end()

    def _fill(self) -> bool:
        """Take one page's items and send them; say whether they are the last."""
        began = time.monotonic()
        try:
            is_over = self._items.take(self._size, self._taken)
        finally:
            self._flush()
            with self._sending:
                self._taken, self._sent = [], 0
                self._filled += 1
        self._size = next_size(self._size, time.monotonic() - began, self._buffersize)
        return is_over

    def _end(self) -> None:
        with self._change:
            self._exhausted = True
            self._change.notify_all()
        self._let_go()

    def _room(self, is_patient: bool) -> bool:
        """Say whether another page may be taken; with patience, once it may."""
        with self._change:
            while not self._has_room():
                if self._closed or self._is_enough or not is_patient:
                    return False
                self._wait(None)
        return not (self._closed or self._is_enough)

    def _has_room(self) -> bool:
        owed = self._outstanding if self._unbounded else self._unread
        return owed + self._size <= self._buffersize and self._ahead < AHEAD_BYTES

    def _watch(self, filled: int) -> None:
        """Send what was taken when the iterable keeps the feeder waiting: it may wait for just these results."""
        if self._exhausted or self._closed:
            return
        if filled == self._filled:
            self._flush()
        now = self._filled
        self.queue.dispatcher.call_later(STALL_S, lambda: self._watch(now))

    def _flush(self) -> None:
        """Send what was taken and is not on its way."""
        with self._sending:
            items = self._taken[self._sent :]
            self._sent += len(items)
            if items:
                self._send(items)

    def _send(self, items: list[Item]) -> None:
        is_simple, items, weight = page_of(items)
        page, count = ItemChunk(items, self, is_simple, weight, self.total), len(items)
        with self._change:
            if self._closed:
                return
            self._unread += count
            self._outstanding += count
            self._ahead += weight
            self.total += count
            if self._ready is None:
                self._pages.append(page)
                self._change.notify_all()
        try:
            self.queue.add(ItemRange(page, 0, count, self._options.worker, self._options.retries))
        except ClusterClosed as error:
            self._error = error
            self.close()

    # ---- the dispatcher's thread

    def arrived(self, page: ItemChunk, start: int, stop: int, freed: int) -> None:
        """Take note of outcomes."""
        with self._change:
            self._outstanding -= stop - start
            self._ahead -= freed
            self.done += stop - start
            if self._ready is not None:
                self._ready.append((page, start, stop))
            if self._waiting or not self._outstanding:
                self._change.notify_all()
        if self._exhausted and not self._outstanding:
            self._let_go()

    def _let_go(self) -> None:
        """Need the cluster no more once all outcomes are there."""
        with self._change:
            is_over = self._closed or (self._exhausted and not self._outstanding)
            on_end, self._on_end = (self._on_end, nothing) if is_over else (nothing, self._on_end)
        on_end(self)

    def printed(self, worker: str, texts: tuple[str, ...]) -> None:
        """Show what an item's job printed, with the worker's name if there can be several."""
        link = self.queue.dispatcher.link
        self._echo.hear("" if link is None or link.kind == "local" else worker, texts)

    # ---- the reader

    def __iter__(self) -> Iterator[T]:
        """Return the generator itself, which is quicker to read than this object."""
        return self._values

    def __next__(self) -> T:
        """Return the next result."""
        return next(self._values)

    def _in_order(self) -> Generator[T, None, None]:
        pages = self._pages
        try:
            while True:
                if not pages:
                    self._until(lambda: bool(pages) or self._ended())
                    if not pages:
                        break
                page = pages[0]
                values = page.values
                for index in range(len(values)):
                    if values[index] is MISSING:
                        self._until(lambda at=index, of=values: of[at] is not MISSING or self._closed)  # type: ignore[misc]
                        if values[index] is MISSING:
                            return
                    value = values[index]
                    yield (
                        value if value.__class__ is not RawOutcome else taken(page, index, self.queue.computation.name)
                    )
                if self._closed:  # while the last value was used
                    return
                pages.popleft()
                self._have_read(len(values))
            self._raise_error()
        finally:
            self.close()

    def _as_ready(self) -> Generator[T, None, None]:
        ready = self._ready
        assert ready is not None
        try:
            while True:
                if not ready:
                    self._until(lambda: bool(ready) or (self._ended() and not self._outstanding))
                    if not ready:
                        break
                page, start, stop = ready.popleft()
                for index in range(start, stop):
                    value = page.values[index]
                    yield (
                        value if value.__class__ is not RawOutcome else taken(page, index, self.queue.computation.name)
                    )
                self._have_read(stop - start)
            self._raise_error()
        finally:
            self.close()

    def _have_read(self, count: int) -> None:
        with self._change:
            self._unread -= count
            self._change.notify_all()

    def _ended(self) -> bool:
        return self._exhausted or self._closed

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _until(self, condition: Callable[[], bool]) -> None:
        with self._change:
            while not condition():
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("The results were not ready within the timeout given to map().")
                self._wait(left)

    def _wait(self, seconds: float | None) -> None:
        self._waiting += 1
        try:
            self._change.wait(seconds)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Stop the work: items that wait are not run, those that run are stopped, and there are no more results."""
        with self._change:
            if self._closed:
                return
            self._closed = True
            self._change.notify_all()
        if self._outstanding:
            self.queue.cancel_pages(self)
        self._pages.clear()
        self._echo.close()
        self._let_go()
        self._values = iter(())

    def abandon(self, error: BaseException) -> None:
        """End in a forked process, where nothing arrives: reading raises ``error``.  The other's locks are left."""
        self._change = threading.Condition()
        self._error, self._exhausted, self._outstanding = error, True, 0
        for page in self._pages:
            page.values[:] = [Abandoned(error) if value is MISSING else value for value in page.values]

    def finish(self) -> None:
        """Wait until every item has run, also those that nobody reads."""
        with self._change:
            self._unbounded = True
            self._is_enough = self._items.is_endless
            self._change.notify_all()
            while not self._change.wait_for(self._is_over, SPEAK_S if not self._exhausted else None):
                say(f"octapi: {self._still()}")
        self._echo.close()

    def _is_over(self) -> bool:
        return self._closed or (self._exhausted and not self._outstanding)

    def _still(self) -> str:
        name = self.queue.computation.name
        return (
            f"the end waits for map({name}): its iterable has given {self.total} items so far, and may give more; "
            f"{self.done} are done. Ctrl-C drops it; .close() of what map returned ends it."
        )


def next_size(size: int, seconds: float, buffersize: int) -> int:
    """Return how many items the next page takes, after one of ``size`` took ``seconds`` to fill."""
    if seconds > PAGE_S:
        return max(1, size // 2)
    return max(1, min(size * 2, buffersize // SHARE))


def taken(page: ItemChunk, index: int, function: str) -> Any:
    """Read an outcome that is not plain, which is let go: return its value, or raise its error.

    An error has a note of which item it was.
    """
    found: RawOutcome = page.values[index]
    page.values[index] = None
    result, error = read(found.kind, found.data)
    if error is None:
        return result
    if isinstance(error, StopIteration):  # raised here, it would end the results as if there were no more
        stopped = RuntimeError(f"A job raised StopIteration: {error.value!r}")
        stopped.__cause__ = error
        error = stopped
    if found.kind != outcome.CANCELLED:
        error.add_note(f"item {page.first + index} of map: {function}({arguments(found.item)})")
    raise error


def arguments(item: Item | None) -> str:
    """Return an item's arguments as one short text."""
    try:
        data = call_bytes(item, {}) if isinstance(item, tuple) else item
        return shortened(data) if isinstance(data, bytes) else "..."
    except Exception as error:  # nothing that the user's values raise stands before the job's own error
        return f"<{type(error).__name__} while reading the arguments>"


def nothing(_: object) -> None:
    """Do nothing."""
