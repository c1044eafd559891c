"""Strangers' text for a terminal: nothing in it moves the cursor, changes colours or hides letters."""

from __future__ import annotations

from octapi.protocol.checked import shown


def visible(text: str) -> str:
    """Return a text with every control character, line end and invisible letter written as Python writes it."""
    return shown(text, len(text))


def shown_lines(text: str) -> list[str]:
    """Return the lines of what a program printed, as a terminal would leave them, with nothing that acts on one.

    Tabs become spaces; of a line that was overwritten by carriage returns, as progress bars do, the last state stays.
    """
    lines = text.removesuffix("\n").split("\n")
    return [visible(line.rstrip("\r").rpartition("\r")[2].expandtabs()) for line in lines]


def many(count: int, word: str) -> str:
    """Write a number of things."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
