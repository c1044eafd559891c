"""What clients and workers say when they come, and why they may be sent away."""

from __future__ import annotations

from typing import Any

from octapi import _version
from octapi.protocol import wire
from octapi.protocol.worker_messages import FACTS

__all__ = ["FACTS", "compatible", "in_health", "refusal", "why_not"]


def in_health(health: dict[str, Any], now: float) -> dict[str, Any]:
    """Return a worker's report on itself with its clock's error in seconds instead of its time."""
    clock = health.get("clock")
    known = {key: value for key, value in health.items() if key != "clock"}
    return known if clock is None else known | {"clock_ahead_s": round(float(clock) - now, 1)}


def compatible(facts: dict[str, Any]) -> bool:
    """Say whether both sides share a version of the wire protocol."""
    theirs, oldest = facts.get("protocol", 0), facts.get("oldest", 0)
    return (
        isinstance(theirs, int)
        and isinstance(oldest, int)
        and theirs >= wire.OLDEST_PROTOCOL
        and oldest <= wire.PROTOCOL
    )


def refusal(facts: dict[str, Any]) -> str:
    """Say why a protocol version is refused, and what to do."""
    return (
        f"it speaks protocol {facts.get('protocol')!r:.20} (OctaPi {facts.get('release')!s:.60}), this master speaks "
        f"{wire.OLDEST_PROTOCOL} to {wire.PROTOCOL} (OctaPi {_version.__version__}). Install the same release on both."
    )


def why_not(facts: dict[str, Any], name: str | None) -> str:
    """Return why a worker must not join; an empty text if it may.  ``name`` is the one in its certificate, if any."""
    if not compatible(facts):
        return refusal(facts)
    if name is not None and name != facts["name"]:
        return f"it is not {facts['name']!r}."
    return ""
