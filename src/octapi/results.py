"""The results of a ``map``: an iterator that feeds the cluster and is fed by it."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from octapi.dispatch import payload
from octapi.dispatch.ticket import VALUE, Extra, Ticket, WorkerInfo
from octapi.errors import JobNotSent
from octapi.job import read

if TYPE_CHECKING:
    from octapi.dispatch.lane import Lane

#: how many items are taken from the iterable at a time
SLICE = 1000
MISSING: Any = object()


class Item(Ticket):
    """One item's job; ``results`` is told when it is done."""

    __slots__ = ("data", "kind", "results")

    def __init__(self, data: bytes, results: Results, worker: str | None, retries: int) -> None:
        super().__init__(data, worker=worker, retries=retries)
        self.results = results
        self.kind = -1
        self.data = b""

    def resolve(
        self, kind: int, data: bytes, started: float, ended: float, worker: WorkerInfo | None, extra: Extra | None
    ) -> None:
        """Keep the outcome for the reader."""
        self.kind = kind
        self.data = data
        self.results.arrived(self)

    def value(self) -> Any:
        """Return the result, or raise the error."""
        if self.kind == VALUE and not self.data:
            return None
        value, error = read(self.kind, self.data)
        if error is not None:
            raise error
        return value


class Results(Iterator[Any]):
    """The iterator that ``map`` returns.

    A thread of its own takes items from the iterable, never more than ``buffersize`` ahead of the
    reader.  Reading raises what a job raised; ``timeout`` seconds after the call, TimeoutError.
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
        self._ordered = ordered
        self._on_end = on_end
        self._waiting: deque[Item] = deque()
        self._done: deque[Item] = deque()
        self._outstanding = 0
        self._unread = 0
        self._closed = False
        self._exhausted = False
        self._unbounded = False
        self._error: BaseException | None = None
        self._change = threading.Condition()
        self._awaited: Item | None = None
        self._feeder = threading.Thread(target=self._feed, name="octapi-map", daemon=True)

    def start(self) -> None:
        """Start to take items."""
        self._feeder.start()

    # ---- the feeder

    def _feed(self) -> None:
        try:
            while not self._closed and self._room():
                chunk = list(itertools.islice(self._items, min(SLICE, self._buffersize)))
                if not chunk:
                    break
                self._send(chunk)
        except BaseException as error:
            self._error = error
        with self._change:
            self._exhausted = True
            self._change.notify_all()

    def _room(self) -> bool:
        with self._change:
            while self._unread + min(SLICE, self._buffersize) > self._buffersize and not self._unbounded:
                if self._closed:
                    return False
                self._change.wait()
        return not self._closed

    def _send(self, chunk: list[tuple[Any, ...]]) -> None:
        tickets = [self._ticket(args) for args in chunk]
        with self._change:
            self._unread += len(tickets)
            self._outstanding += len(tickets)
            if self._ordered:
                self._waiting.extend(tickets)
                self._change.notify_all()
        for ticket in tickets:
            if ticket.kind == -1:
                self._lane.submit(ticket)
            else:
                self.arrived(ticket)

    def _ticket(self, args: tuple[Any, ...]) -> Item:
        try:
            data = payload.call_bytes(args, {})
        except Exception as error:
            import pickle

            item = Item(b"", self, None, 0)
            failed = JobNotSent(
                f"An item cannot be pickled: {type(error).__name__}: {error}", function=self._lane.computation.name
            )
            item.kind, item.data = 4, pickle.dumps(failed)
            return item
        return Item(data, self, self._options.worker, self._options.retries)

    # ---- the dispatcher's thread

    def arrived(self, item: Item) -> None:
        """Take note of an outcome."""
        if not self._ordered:
            self._done.append(item)
        self._outstanding -= 1
        if self._awaited is item or not self._ordered or self._outstanding == 0:
            with self._change:
                self._change.notify_all()

    # ---- the reader

    def __iter__(self) -> Iterator[Any]:
        """Return itself."""
        return self

    def __next__(self) -> Any:
        """Return the next result."""
        item = self._next_ordered() if self._ordered else self._next_done()
        self._unread -= 1
        if self._unread < self._buffersize // 2 and not self._exhausted:
            with self._change:
                self._change.notify_all()
        return item.value()

    def _next_ordered(self) -> Item:
        waiting = self._waiting
        if not waiting:
            self._until(lambda: bool(waiting) or self._ended())
            if not waiting:
                self._stop()
        item = waiting[0]
        if item.kind == -1:
            self._awaited = item
            self._until(lambda: item.kind != -1 or self._closed)
        return waiting.popleft()

    def _next_done(self) -> Item:
        if not self._done:
            self._until(lambda: bool(self._done) or (self._ended() and self._outstanding == 0))
            if not self._done:
                self._stop()
        return self._done.popleft()

    def _ended(self) -> bool:
        return self._exhausted or self._closed

    def _stop(self) -> None:
        self._on_end(self)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        raise StopIteration

    def _until(self, condition: Callable[[], bool]) -> None:
        with self._change:
            while not condition():
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("The results were not ready within the timeout given to map().")
                self._change.wait(left)

    def close(self) -> None:
        """Stop the work: items that wait are not run, those that run are stopped."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for item in [*self._waiting]:
            if item.kind == -1:
                self._lane.cancel(item)
        self._waiting.clear()
        self._on_end(self)

    def finish(self) -> None:
        """Wait until every item has run, also those that nobody reads."""
        with self._change:
            self._unbounded = True
            self._change.notify_all()
            self._change.wait_for(lambda: self._closed or (self._exhausted and self._outstanding == 0))

    def __del__(self) -> None:
        """Stop feeding when the reader is gone."""
        self._closed = True
