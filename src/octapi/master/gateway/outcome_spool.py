"""Outcomes of clients that are gone, on disk: what becomes of their jobs is kept until somebody fetches it.

A client that is away for :data:`DETACH_S` has its messages written down, and those that come; when it comes back they
are dropped, for it gets them from memory.  What is on disk of a client that will not come back need not be in memory,
nor with the workers (:meth:`octapi.master.gateway.sessions.Sessions.seen`).

A run may have several clients; each is a *part* of it, and numbers on disk hold the part and the frame's number.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from octapi.errors import StateError
from octapi.master.gateway.session import ClientSession
from octapi.protocol import wire
from octapi.store import runs

if TYPE_CHECKING:
    from octapi.master.gateway.registry import RunRegistry
    from octapi.master.gateway.session import BatchRecord
    from octapi.store.runs import Run

#: how long a client may be away before what it would have got is written down, in seconds
DETACH_S: Final = 10.0
#: what is kept of a session: its client is connected, is away, or will not be let in again
HERE: Final = 0
GONE: Final = 1
DETACHED: Final = 2
#: bits of a number that are the frame's; the one below the highest marks what the master itself says at the end
FRAME_BITS: Final = 38
EPILOGUE: Final = 1 << (FRAME_BITS - 1)
FULL = (
    "Its result was dropped: outcomes that wait for clients that are gone have the most room that this master gives "
    "them, {} MB (keep_mb in its settings.toml, or OCTAPI_KEEP_MB)."
)


def part_of(session: str) -> int:
    """Return the number that a client has within its run."""
    return int.from_bytes(hashlib.blake2b(session.encode(), digest_size=3).digest(), "big")


def place(part: int, number: int) -> int:
    """Return the number under which a frame lies on disk."""
    return part << FRAME_BITS | number


class OutcomeSpool:
    """Keeps and gives back; the numbers are bytes."""

    def __init__(self, registry: RunRegistry) -> None:
        self.registry = registry
        self.limit = registry.settings.keep_mb << 20
        self.used = 0
        if registry.reader is not None:
            try:
                self.used = registry.reader.bytes_kept()
            except StateError:
                self.used = 0

    # ---- clients come and go

    def begin(self, client: ClientSession) -> None:
        """Note that a client works, so that a master that is started anew knows whose batches workers bring."""
        self._session(client, HERE)

    def _session(self, client: ClientSession, gone: int) -> None:
        self.registry.outcomes.session(client.session, client.run, client.secret, self.registry.now(), gone)

    def persist(self, client: ClientSession) -> None:
        """Write down what a client that is away has not got, and from now on all that comes for it."""
        client.spool = self
        self._session(client, GONE)
        self._write_down(client, client.outbox.acknowledged + 1)

    def keep_absent(self, client: ClientSession) -> None:
        """Write down what a client that is away has not got."""
        if client.writer is None and client.is_run and client.spool is None and not client.is_found:
            self.persist(client)

    def note_detached(self, client: ClientSession) -> None:
        """Note that what is on disk of a client is nowhere else, so that no later master lets it begin anew."""
        self._session(client, DETACHED)

    def _write_down(self, client: ClientSession, first: int) -> None:
        """Write down the batches of a client, and its messages from the number ``first`` on."""
        going_on = client.leftover | client.claims | client.held
        for held in going_on.values():
            self.expect(client, held)
        for number, frame in enumerate(client.outbox.since(first - 1), first):
            self.keep(client, number, wire.unpack(bytes(frame)[wire.LENGTH.size :])[2], frame)
        for ident, (jobs, function) in client.names.items():
            if ident not in going_on:
                self._batch(client, ident, jobs, function, is_over=not client.behind)

    def catch_up(self, client: ClientSession) -> None:
        """Write down what could not be when it came, if there is room now."""
        if not client.behind or self.registry.trouble or self.registry.writer.is_full:
            return
        first, client.behind, was_short = client.behind, 0, set(client.short)
        self._write_down(client, first)
        ended = client.names.keys() - client.held.keys() - client.leftover.keys()
        for number, ident in enumerate(sorted((client.short - was_short) & ended), first):
            self._tell_short(client, number, ident, client.names[ident][0])

    def expect(self, client: ClientSession, held: BatchRecord) -> None:
        """Note a batch that is on its way."""
        self._batch(client, held.ident, held.jobs, client.function_of(held.digest), is_over=False)

    def _batch(self, client: ClientSession, ident: int, jobs: int, function: str, *, is_over: bool) -> None:
        number = place(part_of(client.session), ident)
        self.registry.outcomes.batch(client.run, number, jobs, function, is_over=is_over)

    def keep(self, client: ClientSession, number: int, message: Any, frame: wire.Frame) -> None:
        """Keep one message if it says what became of a job, and there is room.

        While the database takes no more, it stays in memory, with all that follow (:meth:`catch_up`).
        """
        kind, ident = message[0], message[1]
        if kind not in ("results", "lost") and not (kind == "end" and message[2] == "died"):
            return
        if client.behind or self.registry.writer.is_full:
            client.behind = client.behind or number
            return
        if self.used + len(frame) > self.limit:
            client.short.add(ident)
            return
        self._write(client, number, bytes(frame))

    def _write(self, client: ClientSession, number: int, frame: bytes) -> None:
        self.used += len(frame)
        client.stored += len(frame)
        self.registry.outcomes.keep(client.run, place(part_of(client.session), number), frame, self.registry.now())
        self.registry.kept(client.run, 1)

    def ended(self, client: ClientSession, number: int, held: BatchRecord) -> None:
        """A batch is over; if something of it did not fit, its jobs are told why they have no result."""
        if client.behind:
            return  # it is not noted as over: a master that is started anew gets it from the worker
        jobs = held.jobs
        self._batch(client, held.ident, jobs, client.function_of(held.digest), is_over=True)
        if held.ident in client.short:
            self._tell_short(client, number, held.ident, jobs)

    def _tell_short(self, client: ClientSession, number: int, ident: int, jobs: int) -> None:
        """Keep, beside message ``number``, why jobs of a batch have no result."""
        text = FULL.format(self.limit >> 20)
        self._write(client, number | EPILOGUE, wire.pack(("agent", "", ("lost", ident, jobs, text))))
        self.registry.kept(client.run, 0, dropped=1)

    def back(self, client: ClientSession) -> None:
        """A client came back: it gets everything from memory."""
        self._drop(client)
        client.spool = None
        client.short.clear()
        client.behind = 0
        self._session(client, HERE)

    def forget(self, client: ClientSession) -> None:
        """Nobody will ask for a client's outcomes any more."""
        self._drop(client)
        self.registry.outcomes.forget_session(client.session)

    def _drop(self, client: ClientSession) -> None:
        if client.spool is not None:
            part = part_of(client.session)
            self.registry.outcomes.drop_part(client.run, place(part, 0), place(part + 1, 0))
            self.used -= client.stored
            client.stored = 0
            self.registry.kept(client.run, None)

    # ---- after a restart of the master

    def left_behind(self) -> list[ClientSession]:
        """Return the clients that the last master knew, as ones that are away."""
        if self.registry.reader is None:
            return []
        try:
            rows = self.registry.reader.sessions((runs.RUNNING, runs.GONE, runs.INTERRUPTED))
        except StateError:
            return []
        found = []
        for session, ident, secret, gone in rows:
            run = self.registry.find(ident)
            if run is not None and run.kind == runs.ATTACHED and run.state in (runs.GONE, runs.INTERRUPTED):
                found.append(self._found(session, run, secret, gone))
            else:
                self.registry.outcomes.forget_session(session)
        return found

    def _found(self, session: str, run: Run, secret: str, gone: int) -> ClientSession:
        facts = {"script": run.script, "user": run.user, "host": run.host, "recoverable": True, "again": True}
        client = ClientSession(None, facts | {"session": session, "token": secret})
        client.run, client.is_run, client.secret, client.is_found = run.id, True, secret, True
        client.was_detached = gone == DETACHED
        if gone and self.registry.reader is not None:
            client.spool, part = self, part_of(session)
            last, client.stored = self.registry.reader.last_of(run.id, place(part, 0), place(part, EPILOGUE - 1))
            client.outbox.acknowledged = 0 if last is None else last - place(part, 0)
        return client

    def open_batches(self, client: ClientSession) -> list[tuple[int, int, str]]:
        """Return the batches of a client that were on their way: number, jobs, function."""
        return [row[:3] for row in self.batches(client) if not row[3]]

    def batches(self, client: ClientSession) -> list[tuple[int, int, str, int]]:
        """Return what is known of a client's batches: number, jobs, function, and whether it is over."""
        if self.registry.reader is None:
            return []
        first = place(part_of(client.session), 0)
        try:
            rows = self.registry.reader.batches(client.run, first, place(part_of(client.session) + 1, 0))
        except StateError:
            return []
        return [(ident - first, jobs, function, is_over) for ident, jobs, function, is_over in rows]

    def read(self, client: ClientSession, after: int, until: int, limit: int = 100) -> list[tuple[int, bytes]]:
        """Return messages on disk with numbers above ``after`` up to ``until``.  Raises :exc:`StateError`."""
        if self.registry.reader is None:
            return []
        first = place(part_of(client.session), 0)
        rows = self.registry.reader.outcomes(client.run, first + after, first + until, limit)
        return [(number - first, frame) for number, frame in rows]
