"""What a worker says to the person who started it."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write one line of the worker's log."""
    print(f"octapi worker: {text}", file=sys.stderr, flush=True)
