"""What the arguments of :class:`concurrent.futures.ProcessPoolExecutor` mean for a cluster.

So that one line moves a script: ``from octapi import Cluster as ProcessPoolExecutor``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = (
    "initializer= is refused: a job may run on any worker, at any time, and sees the script's globals as they are at "
    "the call. Set in the script what the initializer sets, or call it at the beginning of the job's function."
)


class PoolArguments(TypedDict, total=False):
    """The arguments of ``ProcessPoolExecutor`` by name."""

    max_workers: int | None
    mp_context: Any
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    max_tasks_per_child: int | None


def slots_of(address: str | int | None, slots: int | None, given: PoolArguments) -> tuple[str | None, int | None]:
    """Return address and slots.

    The first argument of ``ProcessPoolExecutor`` is a number, ``max_workers``: it bounds a local cluster, as ``slots``
    does, and no other.  ``mp_context`` and ``max_tasks_per_child`` are not needed: no job sees what another left.
    Raises ValueError for an ``initializer`` and for numbers below 1, TypeError for unknown names.
    """
    unknown = given.keys() - PoolArguments.__annotations__.keys()
    if unknown:
        raise TypeError(f"Cluster() takes no argument {', '.join(sorted(unknown))}.")
    if given.get("initializer") is not None:
        raise ValueError(REFUSED)
    if given.get("initargs"):
        raise ValueError("initargs= is refused, as it is for an initializer, and there is none.")
    number = given.get("max_workers")
    if isinstance(address, int):
        address, number = None, address
    for name, value in (("max_workers", number), ("max_tasks_per_child", given.get("max_tasks_per_child"))):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} must be a whole number of at least 1, and is {value!r}.")
    if slots is not None and number is not None and slots != number:
        raise ValueError(f"slots={slots} and max_workers={number} are the same thing. Give one of them.")
    return address, number if slots is None else slots
