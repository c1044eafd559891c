"""Clients and their batches as the gateway holds them.

A client that said it wants to be recoverable and goes away without ``bye`` is *detached*: its
batches go on, and what agents report is kept until somebody with its token has fetched it.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from octapi.dispatch import wire

if TYPE_CHECKING:
    import asyncio

    from octapi.trust.names import Peer

#: the most that is kept of one detached client, in bytes
BACKLOG_LIMIT = 256 << 20


class Held:
    """A batch that the master holds."""

    __slots__ = ("client", "digest", "facts", "ident", "key", "worker")

    def __init__(self, client: Client, ident: int, digest: str, facts: dict[str, Any]) -> None:
        self.client = client
        self.ident = ident
        self.key = [client.number, ident]
        self.digest = digest
        self.facts = facts
        self.worker: str | None = None


class Client:
    """One client, connected or detached."""

    numbers = itertools.count(1)

    def __init__(self, writer: asyncio.StreamWriter, facts: dict[str, Any], peer: Peer | None = None) -> None:
        self.number = next(self.numbers)
        self.writer: asyncio.StreamWriter | None = writer
        self.facts = facts
        self.peer = peer
        self.token: str = facts.get("token") or ""
        self.said_bye = False
        self.waiting: deque[Held] = deque()
        self.held: dict[int, Held] = {}
        self.computations: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self.backlog: list[bytes] | None = None
        self.kept = 0
        self.summary: dict[str, Any] = {}
        #: the id of its run, and whether that was written down: only clients that bring work are runs
        self.run = ""
        self.is_run = False
        self.since = time.time()

    def send(self, *message: Any) -> None:
        """Send one message; a detached client's news are kept."""
        frame = wire.pack(message)
        if self.backlog is not None and message[0] == "agent":
            self.backlog.append(frame)
            self.kept += len(frame)
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(frame)

    @property
    def is_detached(self) -> bool:
        """Say whether its script is gone and its jobs go on."""
        return self.backlog is not None

    @property
    def can_detach(self) -> bool:
        """Say whether its jobs are to go on without it."""
        return bool(self.token and not self.said_bye and (self.held or self.backlog)) and self.kept < BACKLOG_LIMIT

    def row(self) -> dict[str, Any]:
        """Describe it for people: its script, since when (epoch seconds) it is here, and its jobs."""
        facts = {key: self.facts.get(key) for key in ("script", "user", "host", "pid")}
        batches = {"batches": len(self.held), "is_detached": self.is_detached}
        return {"number": self.number, "run": self.run, **facts, "since": self.since, **batches, **self.summary}

    def detach(self) -> None:
        """Go on without a connection."""
        self.writer = None
        if self.backlog is None:
            self.backlog = []

    def attach(self, writer: asyncio.StreamWriter) -> None:
        """Tell somebody new everything that was kept, and what comes from now on."""
        self.writer = writer
        for frame in self.backlog or ():
            writer.write(frame)


def remainder(held: Held, kind: str, rest: list[Any]) -> int | None:
    """Return from which job on a detached client's batch is to run again after an ``end``; None if it is done."""
    reason, stop = rest[0], rest[1]
    if kind != "end" or reason == "done" or reason == "refused":
        return None
    start = int(stop) + (1 if reason == "died" else 0)
    return start if start < held.facts["jobs"] else None
