"""Which worker takes a batch: decisions on what is known of workers, without input or output."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from octapi.protocol.computation import minor
from octapi.protocol.outcome import DRAINED, DRAINING, OK, SILENT
from octapi.protocol.specs import ComputationFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from octapi.master.gateway.session import BatchRecord
    from octapi.protocol.worker_messages import Key

#: batches that a worker may hold for each slot: one that runs and one that waits
AHEAD = 2


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
    def load(self) -> float:
        """Return how many batches it holds for each slot."""
        return len(self.held) / max(self.slots, 1)

    def suits(self, held: BatchRecord) -> bool:
        """Say whether a batch may ever go to this worker as it is now."""
        if self.is_silent or self.is_draining or held.digest in self.refused:
            return False
        wanted = held.spec.get("worker")
        if wanted and wanted != self.name:
            return False
        _, facts = held.client.computations.get(held.digest, (b"", ComputationFacts()))
        limits, python = facts.get("limits"), facts.get("python")
        if python and minor(python) != minor(self.info["python"]):
            return False
        return limits is None or limits.get(self.name, 0) > 0

    def has_room(self, held: BatchRecord) -> bool:
        """Say whether a batch that suits may go to this worker now."""
        if len(self.held) >= AHEAD * self.slots:
            return False
        _, facts = held.client.computations.get(held.digest, (b"", ComputationFacts()))
        limits = facts.get("limits")
        return limits is None or sum(h.digest == held.digest for h in self.held.values()) < limits.get(self.name, 0)


def least_loaded(agents: Iterable[WorkerRecord], held: BatchRecord) -> list[WorkerRecord]:
    """Return those of the workers that may take a batch which hold least."""
    room = [agent for agent in preferred(agents, held) if agent.has_room(held)]
    least = min((agent.load for agent in room), default=0.0)
    return [agent for agent in room if agent.load == least]


def preferred(agents: Iterable[WorkerRecord], held: BatchRecord) -> list[WorkerRecord]:
    """Return the workers that suit a batch, by what became of its job elsewhere.

    One that ran out of memory gets the worker with most of it; one that killed its process goes where it has not been,
    if that can be.
    """
    found = [agent for agent in agents if agent.suits(held)]
    if held.spec.get("alone"):
        return sorted(found, key=lambda agent: (-agent.info["memory"], agent.name))[:1]
    avoid = held.spec.get("avoid")
    return ([agent for agent in found if agent.name not in avoid] or found) if avoid else found
