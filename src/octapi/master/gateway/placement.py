"""A worker as the gateway sees it, and which of them may take a batch by the rules of all placing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from octapi.protocol import placement
from octapi.protocol.outcome import DRAINED, DRAINING, OK, SILENT
from octapi.protocol.specs import ComputationFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from octapi.master.gateway.session import BatchRecord
    from octapi.protocol.worker_messages import Key


class WorkerRecord:
    """A worker as the gateway sees it; ``now`` is the loop's time."""

    def __init__(self, address: str, facts: dict[str, Any], now: float) -> None:
        self.address = address
        self.info = facts
        self.name: str = facts["name"]
        self.slots: int = facts["slots"]
        self.held: dict[Key, BatchRecord] = {}
        self.known: set[str] = set(facts.get("computations") or ())
        #: computations that it is to forget, as often as it has not said that they are cleaned up
        self.leaving: Counter[str] = Counter()
        self.refused: set[str] = set()
        #: batches that it had when it came, until their clients are known
        self.unclaimed: set[tuple[str, int]] = {(session, ident) for session, ident in facts.get("batches") or ()}
        self.joined_at = self.heard_at = now
        #: how many of its batches have ended
        self.batches_done = 0
        #: how many bytes came from it when it was looked at last
        self.read = 0
        #: how many of its messages were none
        self.refusals = 0
        self.is_silent = False
        self.is_draining = False

    def forget(self, digest: str) -> None:
        """It is to forget a computation: the next time it gets it anew, and may take it."""
        if digest in self.known:
            self.leaving[digest] += 1
        self.known.discard(digest)
        self.refused.discard(digest)

    def may_tell_of(self, digest: str) -> bool:
        """Say whether it was given a computation, and may say what became of it."""
        return digest in self.known or digest in self.leaving

    @property
    def state(self) -> str:
        """Return its state in one word."""
        if self.is_silent:
            return SILENT
        if self.is_draining:
            return DRAINING if self.held or self.unclaimed else DRAINED
        return OK

    @property
    def python(self) -> str:
        """Return its version of Python."""
        return str(self.info["python"])

    @property
    def memory(self) -> int:
        """Return what it has, in bytes."""
        return int(self.info["memory"])

    @property
    def takes_batches(self) -> bool:
        """Say whether it may get any now."""
        return not (self.is_silent or self.is_draining)


def least_loaded(workers: Iterable[WorkerRecord], batch: BatchRecord) -> list[WorkerRecord]:
    """Return those of the workers that may take a batch now which hold least."""
    _, facts = batch.client.computations.get(batch.digest, (b"", ComputationFacts()))
    return placement.least_loaded(workers, batch, facts)
