"""What a worker says to the person who started it."""

from __future__ import annotations

from octapi.telemetry import levels


def say(text: str) -> None:
    """Write one line of the worker's log."""
    levels.log(f"octapi worker: {text}")
