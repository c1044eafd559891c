"""The results of a ``map``: an iterator that feeds the cluster and is fed by it."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from octapi.dispatch.span import MISSING, Failed, Page, Span
from octapi.job import read

if TYPE_CHECKING:
    from octapi.dispatch.lane import Lane

#: a page is made as large as this share of the buffer, if the iterable gives so many items quickly
SHARE = 8
#: an iterable that takes longer than this for a page gets smaller pages, in seconds
PAGE_S = 0.005


def next_size(size: int, seconds: float, buffersize: int) -> int:
    """Return how many items the next page takes, after one of ``size`` took ``seconds`` to fill."""
    if seconds > PAGE_S:
        return max(1, size // 2)
    return max(1, min(size * 2, buffersize // SHARE))


class Abandoned:
    """The place of an outcome that arrives in another process."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Results(Iterator[Any]):
    """The iterator that ``map`` returns.

    A thread of its own takes items from the iterable, never more than ``buffersize`` ahead of the
    reader.  Reading raises what a job raised, and ends the work then; ``timeout`` seconds after the
    call it raises TimeoutError.  Iterators that nobody reads work to the end.
    """

    def __init__(
        self,
        lane: Lane,
        items: Iterator[tuple[Any, ...]],
        options: Any,
        timeout: float | None,
        buffersize: int,
        ordered: bool,
        on_end: Callable[[Results], None],
    ) -> None:
        self._lane = lane
        self._items = items
        self._options = options
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._buffersize = buffersize
        self._on_end = on_end
        self._pages: deque[Page] = deque()
        self._ready: deque[tuple[Page, int, int]] | None = None if ordered else deque()
        self._outstanding = 0
        self._unread = 0
        self._closed = False
        self._exhausted = False
        self._unbounded = False
        self._error: BaseException | None = None
        self._change = threading.Condition()
        self._waiting = False
        self._values = self._in_order() if ordered else self._as_ready()
        self._feeder = threading.Thread(target=self._feed, name="octapi-map", daemon=True)
        self.total = 0
        self.done = 0

    def start(self) -> None:
        """Start to take items."""
        self._feeder.start()

    # ---- the feeder

    def _feed(self) -> None:
        size = 1
        try:
            while self._room(size):
                began = time.monotonic()
                items = list(itertools.islice(self._items, size))
                if not items:
                    break
                self._send(items)
                size = next_size(size, time.monotonic() - began, self._buffersize)
        except BaseException as error:  # it is the reader's, who gets it in its place
            self._error = error
        with self._change:
            self._exhausted = True
            self._change.notify_all()

    def _room(self, size: int) -> bool:
        with self._change:
            while self._unread + size > self._buffersize and not self._unbounded:
                if self._closed:
                    return False
                self._change.wait()
        return not self._closed

    def _send(self, items: list[tuple[Any, ...]]) -> None:
        page = Page(items, self)
        with self._change:
            if self._closed:
                return
            self._unread += len(items)
            self._outstanding += len(items)
            self.total += len(items)
            if self._ready is None:
                self._pages.append(page)
                self._change.notify_all()
        self._lane.add(Span(page, 0, len(items), self._options.worker, self._options.retries))

    # ---- the dispatcher's thread

    def arrived(self, page: Page, start: int, stop: int) -> None:
        """Take note of outcomes."""
        self._outstanding -= stop - start
        self.done += stop - start
        if self._ready is not None:
            self._ready.append((page, start, stop))
        if self._waiting or not self._outstanding:
            with self._change:
                self._change.notify_all()

    # ---- the reader

    def __iter__(self) -> Iterator[Any]:
        """Return the generator itself, which is quicker to read than this object."""
        return self._values

    def __next__(self) -> Any:
        """Return the next result."""
        return next(self._values)

    def _in_order(self) -> Generator[Any, None, None]:
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
                    yield unpacked(values[index])
                pages.popleft()
                self._have_read(len(values))
            self._raise_error()
        finally:
            self.close()

    def _as_ready(self) -> Generator[Any, None, None]:
        ready = self._ready
        assert ready is not None
        try:
            while True:
                if not ready:
                    self._until(lambda: bool(ready) or (self._ended() and not self._outstanding))
                    if not ready:
                        break
                page, start, stop = ready.popleft()
                for value in page.values[start:stop]:
                    yield unpacked(value)
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
            self._waiting = True
            try:
                while not condition():
                    left = None if self._deadline is None else self._deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise TimeoutError("The results were not ready within the timeout given to map().")
                    self._change.wait(left)
            finally:
                self._waiting = False

    def close(self) -> None:
        """Stop the work: items that wait are not run, those that run are stopped."""
        with self._change:
            if self._closed:
                return
            self._closed = True
            self._change.notify_all()
        if self._outstanding:
            self._lane.cancel_pages(self)
        self._pages.clear()
        self._on_end(self)

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
            self._change.notify_all()
            self._change.wait_for(lambda: self._closed or (self._exhausted and not self._outstanding))


def unpacked(value: Any) -> Any:
    """Return a value, or read an outcome that is not plain: its value, or the error it raises."""
    if value.__class__ is Abandoned:
        raise value.error
    if value.__class__ is not Failed:
        return value
    result, error = read(value.kind, value.data)
    if error is not None:
        raise error
    return result
