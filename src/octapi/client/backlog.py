"""What waits in the queue of one computation: for any worker, for one, or for one that is not there."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING

from octapi.client.item_range import ItemRange
from octapi.client.job_errors import WENT_AWAY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from octapi.client.batch import Entry

#: a batch of more jobs than one takes no more than about so much, in bytes
BATCH_BYTES = 32 << 20
#: a job whose arguments take more than this is a batch of its own, in bytes: then nothing copies them
ALONE = 1 << 20


class Backlog:
    """Entries that wait; they may be added from any thread, for a deque takes and gives one by one."""

    def __init__(self) -> None:
        self.unpinned: deque[Entry] = deque()
        #: what goes by itself, or to one worker
        self.pinned: deque[Entry] = deque()
        #: jobs for workers that are not there, by worker
        self.absent: dict[str, deque[Entry]] = {}

    def lists(self) -> list[deque[Entry]]:
        """Return what waits: for any worker, by itself or for one worker, and for workers that are not there."""
        return [self.pinned, self.unpinned, *list(self.absent.values())]

    def take_all(self) -> list[Entry]:
        """Take out everything."""
        found: list[Entry] = []
        for entries in self.lists():
            with contextlib.suppress(IndexError):  # it is empty
                while True:
                    found.append(entries.popleft())
        self.absent.clear()
        return found

    def remove(self, entry: Entry) -> None:
        """Take out one entry, if it waits."""
        for entries in self.lists():
            with contextlib.suppress(ValueError):
                entries.remove(entry)

    def park(self, worker: str, entry: Entry) -> None:
        """Let an entry wait for a worker that is not there."""
        self.absent.setdefault(worker, deque()).append(entry)

    def unpark(self, workers: Collection[str]) -> None:
        """Let go what waits for workers that are there now."""
        for name in [name for name in self.absent if name in workers]:
            self.pinned.extend(self.absent.pop(name))

    def take(self, size: Callable[[int], int]) -> list[Entry]:
        """Take the next batch: single jobs, or one range; ``size`` says how many of so many jobs it takes."""
        entries = self.unpinned
        head = entries[0]
        if isinstance(head, ItemRange):
            count = size(len(head) * len(entries))
            if count >= len(head):
                return [entries.popleft()]
            entries[0] = head.piece(head.start + count, head.stop)
            return [head.piece(head.start, head.start + count)]
        found: list[Entry] = []
        room = BATCH_BYTES
        for _ in range(size(len(entries))):
            entry = entries[0]
            if isinstance(entry, ItemRange) or room < 0:
                break
            length = len(entry.payload)
            if length > ALONE and found:
                break
            room -= length if length <= ALONE else BATCH_BYTES + 1
            found.append(entries.popleft())
        return found

    def back(self, entries: Iterable[Entry]) -> None:
        """Put jobs that did not start back to the head."""
        for entry in reversed(list(entries)):
            if entry.worker is None and not (entry.code or entry.files or must_be_single(entry)):
                self.unpinned.appendleft(entry)
            else:
                self.pinned.appendleft(entry)


def must_be_single(entry: Entry) -> bool:
    """Say whether an earlier start killed its process, so that it must not take others with it."""
    return any(attempt.cause != WENT_AWAY for attempt in entry.past)


def entry_size(entry: Entry) -> int:
    """Return how many jobs without an outcome an entry is."""
    return len(entry) if isinstance(entry, ItemRange) else int(not entry.done)


def queue_size(entries: deque[Entry]) -> int:
    """Return how many jobs wait in a queue; single jobs are not looked at one by one, they may be millions."""
    if not entries or not isinstance(entries[0], ItemRange):
        return len(entries)
    return sum(len(entry) if isinstance(entry, ItemRange) else 1 for entry in list(entries))
