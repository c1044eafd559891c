"""What jobs get of the objects that they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import octapi


def notebook(*cells: str) -> dict[str, Any]:
    """Execute cells as a notebook does, in one ``__main__``-like namespace."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        exec(cell, names)
    return names


def call(cluster: octapi.Cluster, function: Callable[..., Any], *args: Any) -> Any:
    """Submit one call, and map one item; both must say the same."""
    submitted = cluster.submit(function, *args).result(timeout=60)
    mapped = list(cluster.map(function, *([arg] for arg in args))) if args else [submitted]
    assert mapped == [submitted]
    return submitted
