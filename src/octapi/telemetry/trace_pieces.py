"""The trace of a run in pieces that fit the database, and put together again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from octapi.store.reader import TOTALS
from octapi.store.trace_table import PIECE_LIMIT, written

if TYPE_CHECKING:
    from collections.abc import Mapping

#: the most rows of a list in one piece
ROWS: Final = {"workers": 1000, "functions": 1000, "buckets": 3000, "causes": 10, "pieces": 1000, "output": 200}


def pieces(plain: Mapping[str, Any]) -> dict[tuple[str, int], Any]:
    """Cut a story into pieces, by kind and number."""
    found: dict[tuple[str, int], Any] = {
        (TOTALS, 0): {key: value for key, value in plain.items() if not isinstance(value, list)}
    }
    for kind, most in ROWS.items():
        found |= {(kind, number): rows for number, rows in enumerate(cut(plain[kind], most))}
    return found


def cut(rows: list[Any], most: int) -> list[list[Any]]:
    """Cut rows into parts of at most ``most``, and smaller ones where their texts are long."""
    if len(rows) > most:
        starts = range(0, len(rows), most)
        return [part for start in starts for part in cut(rows[start : start + most], most)]
    if len(rows) > 1 and len(written(rows).encode(errors="replace")) > PIECE_LIMIT:
        return cut(rows, (len(rows) + 1) // 2)
    return [rows] if rows else []


def whole(parts: dict[str, list[Any]]) -> dict[str, Any] | None:
    """Put the pieces of each kind, in order, together again; None if there are none."""
    if not parts.get(TOTALS):
        return None
    lists = {kind: [row for piece in parts.get(kind, ()) for row in piece] for kind in ROWS}
    return dict(parts[TOTALS][0], **lists)
