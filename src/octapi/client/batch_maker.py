"""Makes batches of what waits: ranges are split until their bytes fit, and what cannot be sent fails here."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from octapi.client.backlog import BATCH_BYTES
from octapi.client.batch import ItemBatch, JobBatch
from octapi.client.item_range import CannotSend, ItemRange, RawOutcome, Unsent
from octapi.errors import JobNotSent
from octapi.protocol import outcome

if TYPE_CHECKING:
    from octapi.client.batch import AnyBatch, Entry
    from octapi.client.queue import ComputationQueue
    from octapi.errors import JobError


class BatchMaker:
    """Makes the batches of one queue."""

    def __init__(self, queue: ComputationQueue) -> None:
        self._queue = queue

    def make(self, entries: list[Entry]) -> AnyBatch | None:
        """Return a batch of single jobs, or of one range; None if nothing was left to send."""
        ident = self._queue.dispatcher.next_ident()
        if isinstance(entries[0], ItemRange):
            return self._of_range(ident, entries[0])
        pending_jobs = [entry for entry in entries if not isinstance(entry, ItemRange) and not entry.done]
        return JobBatch(ident, self._queue, pending_jobs) if pending_jobs else None

    def _of_range(self, ident: int, span: ItemRange) -> ItemBatch | None:
        try:
            packed = span.packed()
            while size_of(packed) > BATCH_BYTES and len(span) > 1:
                self._queue.unpinned.appendleft(span.piece(span.start + len(span) // 2, span.stop))
                span = span.piece(span.start, span.start + len(span) // 2)
                packed = span.packed()
        except CannotSend:
            self._sift(span)
            return None
        largest = self._queue.dispatcher.largest
        if size_of(packed) > largest:
            fill(span, failed(large_error(self._queue.computation.name, size_of(packed), largest)))
            return None
        return ItemBatch(ident, self._queue, span, packed)

    def _sift(self, span: ItemRange) -> None:
        """Fail the items that cannot be pickled, and queue the others again."""
        for place in range(span.start, span.stop):
            item = span.page.args[place]
            if isinstance(item, Unsent):
                span.page.put(place, failed(JobNotSent(item.text, function=self._queue.computation.name)))
        self._queue.back(list(span.open_pieces()))


def size_of(packed: tuple[bool, Any]) -> int:
    """Return how many bytes the items of a range take."""
    is_simple, data = packed
    return len(data) if is_simple else sum(map(len, data))


def large_error(function: str, size: int, limit: int) -> JobError:
    """Return the error for arguments that are too large to be sent."""
    text = (
        f"Its arguments take {size / 1e6:,.0f} MB; the limit is {limit >> 20} MB (largest_mb). Put what is large into "
        "a file that workers can read, or set OCTAPI_LARGEST_MB."
    )
    return JobNotSent(text, function=function, arguments="...")


def fill(span: ItemRange, value: RawOutcome) -> None:
    """Give all items of a range that have none the same outcome."""
    for place in range(span.start, span.stop):
        span.page.put(place, value)


def failed(error: JobError) -> RawOutcome:
    """Make an error an outcome."""
    return RawOutcome(outcome.FAULT, pickle.dumps(error))
