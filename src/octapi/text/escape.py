"""Strangers' text for a terminal: nothing in it moves the cursor, changes colours or hides letters."""

from __future__ import annotations

from typing import Final

#: the longest text that is shown whole where nobody says otherwise
LONGEST: Final = 1 << 20


def visible(text: str) -> str:
    """Return a text with every control character, line end and invisible letter written as Python writes it."""
    return shown(text, len(text))


def shown_lines(text: str) -> list[str]:
    """Return the lines of what a program printed, as a terminal would leave them, with nothing that acts on one.

    Tabs become spaces; of a line that was overwritten by carriage returns, as progress bars do, the last state stays.
    """
    lines = text.removesuffix("\n").split("\n")
    return [visible(line.rstrip("\r").rpartition("\r")[2].expandtabs()) for line in lines]


def shown(text: str, limit: int = LONGEST) -> str:
    """Return a text as people may read it: what moves a cursor, hides letters or turns them round is escaped."""
    if len(text) > limit:
        text = f"{text[: max(0, limit - 3)]}..."
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else escaped(letter) for letter in text)


def escaped(letter: str) -> str:
    """Return a letter that cannot be printed, as Python writes it."""
    return letter.encode("unicode_escape").decode("ascii")


def many(count: int, word: str) -> str:
    """Write a number of things."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
