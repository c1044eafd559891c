"""Which worker takes a batch: decisions on what is known of workers, without input or output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from octapi.master.client import Held

#: batches that a worker may hold for each slot: one that runs and one that waits
AHEAD = 2


class Agent:
    """A worker as the gateway sees it."""

    def __init__(self, address: str, facts: dict[str, Any]) -> None:
        self.address = address
        self.info = facts
        self.name: str = facts["name"]
        self.slots: int = facts["slots"]
        self.held: dict[tuple[int, int], Held] = {}
        self.known: set[str] = set()
        self.refused: set[str] = set()

    @property
    def load(self) -> float:
        """Return how many batches it holds for each slot."""
        return len(self.held) / max(self.slots, 1)

    def may_take(self, held: Held) -> bool:
        """Say whether a batch may go to this worker now."""
        if len(self.held) >= AHEAD * self.slots or held.digest in self.refused:
            return False
        wanted = held.facts.get("worker")
        if wanted and wanted != self.name:
            return False
        _, facts = held.client.computations.get(held.digest, (b"", {}))
        limits = facts.get("limits")
        python = facts.get("python")
        if python and minor(python) != minor(self.info["python"]):
            return False
        return limits is None or sum(h.digest == held.digest for h in self.held.values()) < limits.get(self.name, 0)


def least_loaded(agents: Iterable[Agent], held: Held) -> list[Agent]:
    """Return those of the workers that may take a batch which hold least."""
    room = [agent for agent in agents if agent.may_take(held)]
    least = min((agent.load for agent in room), default=0.0)
    return [agent for agent in room if agent.load == least]


def minor(version: str) -> tuple[str, ...]:
    """Return the part of a Python version that bytecode depends on."""
    return tuple(version.split(".")[:2])
