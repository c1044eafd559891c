"""Tables of the command line, of one look; whatever stands in a cell, nothing of it acts on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from octapi.text.escape import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

#: words of so many letters are not broken, in a window of any width
SHORT = 12


def show(head: Sequence[str], rows: Sequence[Sequence[object]], whole: Sequence[str] = ()) -> None:
    """Print rows below their head: on a terminal as a table, elsewhere with tabs between cells.

    The columns named in ``whole`` are never shortened or wrapped: people copy them.
    """
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(table(head, rows, whole))
        return
    for row in (head, *rows):
        print("\t".join(visible(str(cell)) for cell in row))


def table(head: Sequence[str], rows: Sequence[Sequence[object]], whole: Sequence[str] = (), caption: str = "") -> Table:
    """Return the table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    below = Text(visible(caption)) if caption else None
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption=below)
    cells = [[visible(str(cell)) for cell in row] for row in rows]
    for place, title in enumerate(head):
        side: Any = "right" if cells and all(is_count(row[place]) for row in cells) else "left"
        least = max(len(title), *(width(row[place], title in whole) for row in cells), 0)
        found.add_column(Text(title), overflow="fold", no_wrap=title in whole, min_width=least, justify=side)
    for row in cells:
        found.add_row(*(Text(cell) for cell in row))
    return found


def width(cell: str, is_whole: bool) -> int:
    """Return the least width that a cell needs."""
    return len(cell) if is_whole else max((len(word) for word in cell.split() if len(word) <= SHORT), default=0)


def is_count(cell: str) -> bool:
    """Say whether a cell holds a number, or nothing."""
    return cell.replace(",", "").replace(".", "").isdigit() or not cell
