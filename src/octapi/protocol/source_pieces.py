"""Source text that travels in pieces, each with the place it has in its own file.

A piece begins with a line :data:`MARK`, which says so in JSON and counts the lines that follow; to a
Python that knows nothing of pieces it is a comment.  A piece that was indented where it came from
stays as it is, below an ``if 1:`` of its own: taking its margin away would change strings of several lines.
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

MARK: Final = "# octapi piece "
#: what an indented piece is put below
BELOW: Final = "if 1:\n"


class Piece(NamedTuple):
    """``text`` is what stands in ``file`` from line ``first`` on; ``flags`` are those of its ``__future__`` imports."""

    file: str
    first: int
    text: str
    flags: int = 0

    @property
    def is_indented(self) -> bool:
        """Whether it does not begin at the left margin."""
        return self.text[:1] in (" ", "\t")


def write(pieces: list[Piece]) -> str:
    """Return one text that is valid Python and from which :func:`read` makes the pieces again."""
    return "".join(_written(piece) for piece in pieces)


def _written(piece: Piece) -> str:
    text = piece.text if piece.text.endswith("\n") else piece.text + "\n"
    facts = json.dumps([piece.file, piece.first, piece.flags, text.count("\n")])
    return f"{MARK}{facts}\n{BELOW if piece.is_indented else ''}{text}"


def read(text: str) -> list[Piece]:
    """Return the pieces of a text; one without marks is a single piece.  Raises ValueError for a broken mark."""
    if not text.startswith(MARK):
        return [Piece("<string>", 1, text)]
    lines = text.split("\n")
    found, at = [], 0
    while at < len(lines) and lines[at].startswith(MARK):
        file, first, flags, count = json.loads(lines[at].removeprefix(MARK))
        at += 1 + (lines[at + 1] + "\n" == BELOW and lines[at + 2][:1] in (" ", "\t"))
        found.append(Piece(file, first, "\n".join(lines[at : at + count]) + "\n", flags))
        at += count
    return found
