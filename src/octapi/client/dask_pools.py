"""Which Dask worker's pool takes a batch: decisions on what is known of them, without input or output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from octapi.protocol.computation import minor
from octapi.protocol.outcome import OK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from octapi.protocol.outcome import WorkerInfo
    from octapi.protocol.specs import BatchSpec, ComputationFacts

#: batches that a pool may hold for each slot: one that runs and one that waits
AHEAD = 2


class HeldBatch:
    """A batch that has not ended: ``pool`` has it, or none yet."""

    def __init__(self, ident: int, queue: int, digest: str, spec: BatchSpec) -> None:
        self.ident = ident
        self.queue = queue
        self.digest = digest
        self.spec = spec
        self.pool: DaskPool | None = None

    @property
    def is_special(self) -> bool:
        """Say whether it may not go wherever others of its computation go."""
        return bool(self.spec.get("worker") or self.spec.get("alone") or self.spec.get("avoid"))


class DaskPool:
    """The pool beside the Dask worker at ``address``."""

    def __init__(self, address: str, info: WorkerInfo, now: float) -> None:
        self.address = address
        self.info = info
        self.held: dict[int, HeldBatch] = {}
        self.known: set[str] = set()
        self.refused: set[str] = set()
        self.heard_at = now
        #: its worker was told to end
        self.is_leaving = False

    @property
    def load(self) -> float:
        """Return how many batches it holds for each slot."""
        return len(self.held) / max(self.info.slots, 1)

    def suits(self, batch: HeldBatch, facts: ComputationFacts) -> bool:
        """Say whether a batch may ever go there as it is now."""
        wanted, limits, python = batch.spec.get("worker"), facts.get("limits"), facts.get("python")
        if self.info.state != OK or batch.digest in self.refused or (wanted and wanted != self.info.name):
            return False
        if python and minor(python) != minor(self.info.python):
            return False
        return limits is None or limits.get(self.info.name, 0) > 0

    def has_room(self, batch: HeldBatch, facts: ComputationFacts) -> bool:
        """Say whether a batch that suits may go there now."""
        if len(self.held) >= AHEAD * self.info.slots:
            return False
        limits, here = facts.get("limits"), sum(held.digest == batch.digest for held in self.held.values())
        return limits is None or here < limits.get(self.info.name, 0)


def choose(pools: Iterable[DaskPool], batch: HeldBatch, facts: ComputationFacts) -> DaskPool | None:
    """Return the pool that is to take a batch now, the one that holds least; None while none can."""
    room = [pool for pool in preferred(pools, batch, facts) if pool.has_room(batch, facts)]
    return min(room, key=lambda pool: pool.load, default=None)


def preferred(pools: Iterable[DaskPool], batch: HeldBatch, facts: ComputationFacts) -> list[DaskPool]:
    """Return the pools that suit a batch, by what became of its job elsewhere.

    One that ran out of memory gets the worker with most of it; one that killed its process goes where it has not been,
    if that can be.
    """
    found = [pool for pool in pools if pool.suits(batch, facts)]
    if batch.spec.get("alone"):
        return sorted(found, key=lambda pool: (-pool.info.memory, pool.info.name))[:1]
    avoid = batch.spec.get("avoid") or ()
    return [pool for pool in found if pool.info.name not in avoid] or found


def label_of(name: str, address: str, taken: Iterable[str]) -> str:
    """Return what people call a worker: its name in Dask, or where it is if that is no name or another has it."""
    found = name.rsplit("://", 1)[-1]
    return found if found and found not in taken else address.rsplit("://", 1)[-1]
