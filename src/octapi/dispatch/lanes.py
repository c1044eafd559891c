"""The lanes of one cluster, found by what they run: a bounded number; those that were not used for longest are closed.

A lane that is *held* may get jobs at any moment; it is closed after that, once it has none.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from octapi.dispatch import computation as kinds
from octapi.dispatch import payload
from octapi.dispatch.callables import Callables, Content, fresh
from octapi.dispatch.carried import Luggage
from octapi.dispatch.enclosed import Enclosures

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from octapi.dispatch.dispatcher import Dispatcher
    from octapi.dispatch.lane import Lane, Listener
    from octapi.dispatch.ticket import Ticket

#: lanes that are kept open for what may come
MOST: Final = 64
#: and what they may take together if they are more than a few, in bytes
MOST_BYTES: Final = 64 << 20
FEW: Final = 6

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


class Options(Protocol):
    """What of the options of a call makes another computation."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds after which a job is stopped."""

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


class Lanes:
    """Finds the lane for a call, or opens it.  ``listen`` makes what hears of the files that jobs send home."""

    def __init__(self, engine: Dispatcher, listen: Callable[[str | Path], Listener]) -> None:
        self._engine = engine
        self._listen = listen
        self._lock = threading.RLock()
        self._lanes: OrderedDict[Hashable, Lane] = OrderedDict()
        #: the one that was used last
        self._latest: Lane | None = None
        self._callables = Callables()
        self._luggage = Luggage()
        self._enclosures = Enclosures()

    def __len__(self) -> int:
        return len(self._lanes)

    def submit(self, options: Options, call: Call, ticket: Ticket) -> None:
        """Queue one call as it is now.

        Raises :exc:`~octapi.errors.JobNotSent` for files that cannot be read, and whatever pickling raises.
        """
        function, args, kwargs = call
        what: Content | Title | None = self._callables.content(function)
        if what is not None:
            ticket.payload = payload.call_bytes(args, kwargs)
        else:
            ticket.payload = payload.call_with(function, args, kwargs)
            what = Title(kinds.CALL, payload.name(function), payload.has_bytecode(ticket.payload))
        key = self._key(options, function, what)
        with self._lock:
            lane = self._lanes.get(key)
            if lane is not None:
                if lane is not self._latest:
                    self._lanes.move_to_end(key)
                    self._latest = lane
                return lane.submit(ticket)
        lane = self._open(options, function, what)
        try:
            return lane.submit(ticket)
        finally:
            self.release(lane)

    def hold(self, options: Options, function: Callable[..., Any]) -> Lane:
        """Return the lane for many calls of one function as it is now; it stays open until it is released.

        Raises as :meth:`submit`.
        """
        content = self._callables.content(function) or fresh(function)
        key = self._key(options, function, content)
        with self._lock:
            lane = self._lanes.get(key)
            if lane is not None:
                self._lanes.move_to_end(key)
                self._latest = lane
                lane.holders += 1
                return lane
        return self._open(options, function, content)

    def release(self, lane: Lane) -> None:
        """Let go of a lane."""
        with self._lock:
            lane.holders -= 1
            if lane.is_dropped and not lane.holders:
                lane.retire()

    # ---- finding and opening

    def _key(self, options: Options, function: Any, what: Content | Title) -> Hashable:
        own = self._enclosures.digest(options.files) if options.files else b""
        return key_of(options, what, own, self._luggage.of(function).digest)

    def _open(self, options: Options, function: Any, what: Content | Title) -> Lane:
        """Open a lane, by what function and files are at this moment; it is held."""
        carried = self._luggage.of(function)
        given, own = self._enclosures.read(options.files) if options.files else ((), b"")
        files = (*given, *carried.files)
        if isinstance(what, Title):
            found = payload.of_calls(what.name, what.is_bound, options.timeout_s, files)
        else:
            what = what if what.data is not None else fresh(function)
            found = payload.of_function(payload.name(function), what.data or b"", options.timeout_s, files)
        key = key_of(options, what, own, carried.digest)
        with self._lock:
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = self._engine.open(found, listener=self._listen(options.files_to))
            self._lanes.move_to_end(key)
            self._latest = lane
            lane.holders += 1
            self._drop_old()
        return lane

    def _drop_old(self) -> None:
        """Let go of the lanes that are one too many."""
        size = sum(len(lane.spec) for lane in self._lanes.values())
        while len(self._lanes) > MOST or (len(self._lanes) > FEW and size > MOST_BYTES):
            _, lane = self._lanes.popitem(last=False)
            size -= len(lane.spec)
            lane.is_dropped = True
            if not lane.holders:
                lane.retire()


def key_of(options: Options, what: Content | Title, files: bytes, modules: bytes) -> Hashable:
    """Return what tells lanes apart."""
    return what if type(what) is Title else what[0], options.timeout_s, options.files_to, files, modules
