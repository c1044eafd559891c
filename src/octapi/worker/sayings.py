"""What a worker says to the person who started it."""

from __future__ import annotations

from octapi import saying


def say(text: str) -> None:
    """Write one line of the worker's log."""
    saying.say(f"octapi worker: {text}")
