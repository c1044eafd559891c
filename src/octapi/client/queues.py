"""The queues of one cluster, found by what they run: a bounded number; those that were not used for longest are closed.

A queue that is *held* may get jobs at any moment; it is closed after that, once it has none.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from octapi.client import payload
from octapi.client.attached_files import AttachedFiles
from octapi.client.callables import Callables, Content, fresh
from octapi.client.module_snapshot import ModuleSnapshots
from octapi.protocol import computation as kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from octapi.client.dispatcher import Dispatcher
    from octapi.client.listener import ComputationListener
    from octapi.client.pending_job import PendingJob
    from octapi.client.queue import ComputationQueue

#: queues that are kept open for what may come
MOST: Final = 64
#: and what they may take together if they are more than a few, in bytes
MOST_BYTES: Final = 64 << 20
FEW: Final = 6

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


class Options(Protocol):
    """What of the options of a call makes another computation."""

    @property
    def for_slots(self) -> tuple[tuple[str, Any], ...]:
        """What slots are told, by the names of a computation's fields."""

    @property
    def files(self) -> tuple[str | Path, ...]:
        """Paths of files to send along."""

    @property
    def files_to(self) -> str | Path:
        """The directory that takes what jobs send home."""


class Title(NamedTuple):
    """What calls have in common that bring their function: their kind, its name, and whether there is bytecode."""

    kind: str
    name: str
    is_bound: bool


class ComputationQueues:
    """Finds the queue for a call, or opens it.  ``listen`` makes what hears of the files that jobs send home."""

    def __init__(self, engine: Dispatcher, listen: Callable[[str | Path], ComputationListener]) -> None:
        self._engine = engine
        self._listen = listen
        self._lock = threading.RLock()
        self._queues: OrderedDict[Hashable, ComputationQueue] = OrderedDict()
        #: the one that was used last
        self._latest: ComputationQueue | None = None
        self._callables = Callables()
        self._luggage = ModuleSnapshots()
        self._enclosures = AttachedFiles()

    def __len__(self) -> int:
        return len(self._queues)

    def submit(self, options: Options, call: Call, pending_job: PendingJob) -> None:
        """Queue one call as it is now.

        Raises :exc:`~octapi.errors.JobNotSent` for files that cannot be read, and whatever pickling raises.
        """
        function, args, kwargs = call
        what: Content | Title | None = self._callables.content(function)
        if what is not None:
            pending_job.payload = payload.call_bytes(args, kwargs)
        else:
            pending_job.payload = payload.call_with(function, args, kwargs)
            what = Title(kinds.CALL, payload.name(function), payload.has_bytecode(pending_job.payload))
        key = self._key(options, function, what)
        with self._lock:
            queue = self._queues.get(key)
            if queue is not None:
                if queue is not self._latest:
                    self._queues.move_to_end(key)
                    self._latest = queue
                return queue.submit(pending_job)
        queue = self._open(options, function, what)
        try:
            return queue.submit(pending_job)
        finally:
            self.release(queue)

    def hold(self, options: Options, function: Callable[..., object]) -> ComputationQueue:
        """Return the queue for many calls of one function as it is now; it stays open until it is released.

        Raises as :meth:`submit`.
        """
        content = self._callables.content(function) or fresh(function)
        key = self._key(options, function, content)
        with self._lock:
            queue = self._queues.get(key)
            if queue is not None:
                self._queues.move_to_end(key)
                self._latest = queue
                queue.holders += 1
                return queue
        return self._open(options, function, content)

    def release(self, queue: ComputationQueue) -> None:
        """Let go of a queue."""
        with self._lock:
            queue.holders -= 1
            if queue.is_dropped and not queue.holders:
                queue.retire()

    # ---- finding and opening

    def _key(self, options: Options, function: Callable[..., object], what: Content | Title) -> Hashable:
        own = self._enclosures.digest(options.files) if options.files else b""
        return key_of(options, what, own, self._luggage.of(function).digest)

    def _open(self, options: Options, function: Callable[..., object], what: Content | Title) -> ComputationQueue:
        """Open a queue, by what function and files are at this moment; it is held."""
        carried = self._luggage.of(function)
        given, own = self._enclosures.read(options.files) if options.files else ((), b"")
        files = (*given, *carried.files)
        if isinstance(what, Title):
            found = payload.of_calls(what.name, what.is_bound, options.for_slots, files)
        else:
            what = what if what.data is not None else fresh(function)
            found = payload.of_function(payload.name(function), what.data or b"", options.for_slots, files)
        key = key_of(options, what, own, carried.digest)
        with self._lock:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = self._engine.open(found, listener=self._listen(options.files_to))
            self._queues.move_to_end(key)
            self._latest = queue
            queue.holders += 1
            self._drop_old()
        return queue

    def _drop_old(self) -> None:
        """Let go of the queues that are one too many."""
        size = sum(len(queue.spec) for queue in self._queues.values())
        while len(self._queues) > MOST or (len(self._queues) > FEW and size > MOST_BYTES):
            _, queue = self._queues.popitem(last=False)
            size -= len(queue.spec)
            queue.is_dropped = True
            if not queue.holders:
                queue.retire()


def key_of(options: Options, what: Content | Title, files: bytes, modules: bytes) -> Hashable:
    """Return what tells queues apart."""
    return what if type(what) is Title else what[0], options.for_slots, options.files_to, files, modules
