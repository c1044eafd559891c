"""Reading result records: what slots say of jobs, as it came over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack

from octapi.checked import GREATEST, LATEST
from octapi.dispatch import outcome, wire
from octapi.dispatch.outcome import Extra
from octapi.errors import BatchRefused

if TYPE_CHECKING:
    from collections.abc import Iterator


def unusable(what: str) -> BatchRefused:
    """Return the error for what a worker says of a batch, and that cannot be."""
    return BatchRefused(f"What its worker said of it cannot be used: {what}.", arguments="...")


Outcome = tuple[int, int, bytes, float, float, Extra | None]


def outcomes(records: bytes, jobs: int = 1 << 32) -> Iterator[Outcome]:
    """Read result records: index, kind, data, started (epoch seconds), seconds, output and memory.

    Raises :exc:`BatchRefused` for one that cannot be of a batch of so many ``jobs``.
    """
    unpack, size, extras = wire.RECORD.unpack_from, wire.RECORD.size, wire.WITH_EXTRA
    offset, end = 0, len(records)
    while offset < end:
        index, kind, length, started, ran = unpack(records, offset)
        offset += size
        data = records[offset : offset + length]
        offset += length
        extra = None
        # a comparison with what is no number is false; clocks may be set back while a job runs
        if not (index < jobs and offset <= end and 0.0 <= started <= LATEST and -GREATEST < ran < GREATEST):
            raise unusable(f"a record of job {index}, begun at {started:g}, for {ran:g} s")
        if kind & extras:
            kind &= ~extras
            data, stdout, stderr, memory = msgpack.unpackb(data)
            extra = Extra(stdout, stderr, memory)
        if kind > outcome.GROUP:
            raise unusable(f"an outcome of the unknown kind {kind}")
        yield index, kind, data, started, ran, extra
