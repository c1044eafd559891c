"""What clients and workers say when they come, and why they may be sent away."""

from __future__ import annotations

from typing import Any

from octapi import _version
from octapi.dispatch import wire

#: what a worker says of itself, and clients read
FACTS: dict[str, Any] = {
    "name": str,
    "address": str,
    "host": str,
    "slots": int,
    "platform": str,
    "python": str,
    "memory": int,
    "health": dict,
    "release": str,
    "life": str,
}


def in_health(health: dict[str, Any], now: float) -> dict[str, Any]:
    """Return a worker's report on itself with its clock's error in seconds instead of its time."""
    clock = health.get("clock")
    known = {key: value for key, value in health.items() if key != "clock" and isinstance(value, int | float)}
    return known if clock is None else known | {"clock_ahead_s": round(float(clock) - now, 1)}


def compatible(facts: dict[str, Any]) -> bool:
    """Say whether both sides share a version of the wire protocol."""
    theirs, oldest = int(facts.get("protocol", 0)), int(facts.get("oldest", 0))
    return theirs >= wire.OLDEST_PROTOCOL and oldest <= wire.PROTOCOL


def refusal(facts: dict[str, Any]) -> str:
    """Say why a protocol version is refused, and what to do."""
    return (
        f"it speaks protocol {facts.get('protocol')} (OctaPi {facts.get('release')}), this master speaks "
        f"{wire.OLDEST_PROTOCOL} to {wire.PROTOCOL} (OctaPi {_version.__version__}). Install the same release on both."
    )


def why_not(facts: dict[str, Any], name: str | None) -> str:
    """Return why a worker must not join; an empty text if it may.  ``name`` is the one in its certificate, if any."""
    if not compatible(facts):
        return refusal(facts)
    missing = [key for key, kind in FACTS.items() if not isinstance(facts.get(key), kind)]
    if missing or facts["slots"] < 1:
        return f"it does not say what it is: {', '.join(missing) or 'no slots'}."
    if name is not None and name != facts["name"]:
        return f"it is not {facts['name']!r}."
    return ""
