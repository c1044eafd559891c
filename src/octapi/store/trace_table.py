"""The page's story of a run: small pieces, each under a run, a kind and a bucket.

``kind`` names what is told (such as ``timeline``, ``failures``, ``rate``), ``bucket`` is a number that the recorder
chooses (such as the second or the minute since the run's start, or a counter), ``data`` whatever JSON can hold.  A
piece that is told again replaces the earlier one, so a run of millions of jobs stays small when its buckets are summed.
Pieces are written with the next group of changes (:data:`octapi.store.writer.GROUP_S`), and go when their run does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from octapi.store.writer import Writer

#: the longest piece, in bytes of JSON
PIECE_LIMIT = 1 << 18


def written(data: object) -> str:
    """Return a piece as it is kept: JSON with every letter as it is.  Raises TypeError for what JSON cannot hold."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


class TraceTable:
    """Tells stories of runs."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def tell(self, run: str, kind: str, bucket: int, data: object) -> None:
        """Keep one piece.

        Raises ValueError for one over :data:`PIECE_LIMIT` or with text that UTF-8 cannot hold, and TypeError for what
        JSON cannot hold.
        """
        text = written(data)
        size = len(text.encode())
        if size > PIECE_LIMIT:
            raise ValueError(f"a piece {kind!r} of a story has {size:,} bytes; the limit is {PIECE_LIMIT:,}")
        self.writer.put(
            "INSERT OR REPLACE INTO story VALUES (?, ?, ?, ?)", (run, kind, bucket, text), ("story", run, kind, bucket)
        )

    def forget(self, run: str, kind: str, before: int) -> None:
        """Drop the pieces of one kind whose bucket is below ``before``."""
        self.writer.put("DELETE FROM story WHERE run = ? AND kind = ? AND bucket < ?", (run, kind, before))
