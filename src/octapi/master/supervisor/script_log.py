"""The output of a submitted script: bytes with an offset that only grows, of which the latest are kept.

They lie in segments, files named by the offset of their first byte; when there are too many, the oldest goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

#: a log is this many segments
SEGMENTS: Final = 4
#: the most bytes of one answer
PIECE: Final = 256 << 10


class Piece(NamedTuple):
    """Some bytes of a log: where they begin (later than asked for when older ones were dropped), and the log's end."""

    offset: int
    data: bytes
    end: int


class RunLog:
    """A log in a directory of its own; ``limit`` is in bytes."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        self.segment = max(1, limit // SEGMENTS)

    def segments(self) -> list[tuple[int, Path]]:
        """Return the segments with the offsets of their first bytes, in order."""
        found = [(int(path.name.rpartition(".")[2]), path) for path in self.directory.glob("log.*")]
        return sorted(found)

    def append(self, data: bytes) -> None:
        """Add bytes.  Raises OSError."""
        while data:
            there = self.segments()
            start, path = there[-1] if there else (0, self.directory / f"log.{0:015}")
            used = path.stat().st_size if there else 0
            if used >= self.segment:
                start += used
                path, used = self.directory / f"log.{start:015}", 0
                for _, old in there[: max(0, len(there) + 1 - SEGMENTS)]:
                    old.unlink()
            part, data = data[: self.segment - used], data[self.segment - used :]
            if not used:
                path.touch(mode=0o600)
            with path.open("ab") as file:
                file.write(part)

    def read(self, offset: int, size: int = PIECE) -> Piece:
        """Return bytes from ``offset`` on, or from the oldest that are kept; a negative one counts from the end.

        Raises OSError.
        """
        there = self.segments()
        if not there:
            return Piece(max(0, offset), b"", 0)
        end = there[-1][0] + there[-1][1].stat().st_size
        offset = max(there[0][0], end + offset if offset < 0 else offset)
        found = b""
        for start, path in there:
            place = offset + len(found) - start
            if len(found) < size and 0 <= place < path.stat().st_size:
                with path.open("rb") as file:
                    file.seek(place)
                    found += file.read(size - len(found))
        return Piece(offset, found, end)
