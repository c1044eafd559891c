"""What the rules of sending decide, and a link carries out: see :mod:`octapi.client.core`.

They are plain tuples, so a test compares what was decided with what should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from octapi.protocol.outcome import WorkerInfo
    from octapi.protocol.specs import BatchSpec, ComputationFacts


class Define(NamedTuple):
    """Tell the way to the slots about a computation, or about new limits of one."""

    digest: str
    spec: bytes
    facts: ComputationFacts


class Send(NamedTuple):
    """Send a batch of the queue with this number."""

    ident: int
    queue: int
    digest: str
    spec: BatchSpec


class Tell(NamedTuple):
    """Send one of :mod:`octapi.protocol.orders` to a worker's agent; to all, or to whoever has the batch, if None."""

    worker: str | None
    order: Any


class Claim(NamedTuple):
    """Say to another process of the master which batches are on their way; see ``claim`` of a batch."""

    rows: list[tuple[Any, ...]]


class Notify(NamedTuple):
    """Tell who watches the workers that one has ``joined`` or ``left``, or how it is (``health``)."""

    event: str
    worker: WorkerInfo


Instruction = Define | Send | Tell | Claim | Notify
