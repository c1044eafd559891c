"""Which Dask worker's pool takes a batch: decisions on what is known of them, without input or output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from octapi.protocol import placement
from octapi.protocol.outcome import OK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from octapi.protocol.outcome import WorkerInfo
    from octapi.protocol.specs import BatchSpec, ComputationFacts


class HeldBatch:
    """A batch that has not ended: ``pool`` has it, or none yet."""

    def __init__(self, ident: int, queue: int, digest: str, spec: BatchSpec) -> None:
        self.ident = ident
        self.queue = queue
        self.digest = digest
        self.spec = spec
        self.pool: DaskPool | None = None


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
    def name(self) -> str:
        """Return what people call its worker."""
        return self.info.name

    @property
    def slots(self) -> int:
        """Return how many jobs it runs at once."""
        return self.info.slots

    @property
    def python(self) -> str:
        """Return its version of Python."""
        return self.info.python

    @property
    def memory(self) -> int:
        """Return what its worker has, in bytes."""
        return self.info.memory

    @property
    def takes_batches(self) -> bool:
        """Say whether it may get any now."""
        return self.info.state == OK


def choose(pools: Iterable[DaskPool], batch: HeldBatch, facts: ComputationFacts) -> DaskPool | None:
    """Return the pool that is to take a batch now, the first of those that hold least; None while none can."""
    return next(iter(placement.least_loaded(pools, batch, facts)), None)


def label_of(name: str, address: str, taken: Iterable[str]) -> str:
    """Return what people call a worker: its name in Dask, or where it is if that is no name or another has it."""
    found = name.rsplit("://", 1)[-1]
    return found if found and found not in taken else address.rsplit("://", 1)[-1]
