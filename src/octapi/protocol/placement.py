"""Which worker may take a batch, and which of them is to: the rules alone, whoever places batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from octapi.protocol.computation import minor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from octapi.protocol.specs import BatchSpec, ComputationFacts

#: batches that a worker may hold for each slot: one that runs and one that waits
AHEAD: Final = 2


class Batch(Protocol):
    """What is known of a batch: its computation, and what is said of it."""

    digest: str
    spec: BatchSpec


class Place(Protocol):
    """What is known of a worker; ``memory`` is in bytes, ``held`` are the batches that it has."""

    #: computations that it cannot run
    refused: set[str]

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def slots(self) -> int:
        """How many jobs it runs at once."""

    @property
    def python(self) -> str:
        """Its version of Python."""

    @property
    def memory(self) -> int:
        """What it has, in bytes."""

    @property
    def takes_batches(self) -> bool:
        """Whether it may get any now."""

    @property
    def held(self) -> Mapping[Any, Batch]:
        """The batches that it has."""


P = TypeVar("P", bound=Place)


def is_special(spec: BatchSpec) -> bool:
    """Say whether a batch may not go wherever others of its computation go."""
    return bool(spec.get("worker") or spec.get("alone") or spec.get("avoid"))


def load(place: Place) -> float:
    """Return how many batches a worker holds for each slot."""
    return len(place.held) / max(place.slots, 1)


def suits(place: Place, batch: Batch, facts: ComputationFacts) -> bool:
    """Say whether a batch may ever go to a worker as it is now; ``facts`` are its computation's."""
    if not place.takes_batches or batch.digest in place.refused:
        return False
    wanted, limits, python = batch.spec.get("worker"), facts.get("limits"), facts.get("python")
    if (wanted and wanted != place.name) or (python and minor(python) != minor(place.python)):
        return False
    return limits is None or limits.get(place.name, 0) > 0


def has_room(place: Place, batch: Batch, facts: ComputationFacts) -> bool:
    """Say whether a batch that suits may go to a worker now."""
    if len(place.held) >= AHEAD * place.slots:
        return False
    limits = facts.get("limits")
    return limits is None or sum(h.digest == batch.digest for h in place.held.values()) < limits.get(place.name, 0)


def preferred(places: Iterable[P], batch: Batch, facts: ComputationFacts) -> list[P]:
    """Return the workers that suit a batch, by what became of its job elsewhere.

    One that ran out of memory gets the worker with most of it; one that killed its process goes where it has not been,
    if that can be.
    """
    found = [place for place in places if suits(place, batch, facts)]
    if batch.spec.get("alone"):
        return sorted(found, key=lambda place: (-place.memory, place.name))[:1]
    avoid = batch.spec.get("avoid")
    return ([place for place in found if place.name not in avoid] or found) if avoid else found


def least_loaded(places: Iterable[P], batch: Batch, facts: ComputationFacts) -> list[P]:
    """Return those of the workers that may take a batch now which hold least."""
    room = [place for place in preferred(places, batch, facts) if has_room(place, batch, facts)]
    least = min(map(load, room), default=0.0)
    return [place for place in room if load(place) == least]
