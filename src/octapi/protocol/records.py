"""Reading result records: what slots say of jobs, as it came over the wire."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import msgpack

from octapi.errors import BatchRefused, MessageRefused
from octapi.protocol import outcome, wire
from octapi.protocol.checked import GREATEST, LATEST, annotated, row
from octapi.protocol.outcome import Extra

if TYPE_CHECKING:
    from collections.abc import Iterator


def unusable(what: str) -> BatchRefused:
    """Return the error for what a worker says of a batch, and that cannot be."""
    return BatchRefused(f"What its worker said of it cannot be used: {what}.", arguments="...")


Outcome = tuple[int, int, wire.Buffer, float, float, Extra | None]


#: the fields of :class:`Extra`
EXTRA: Final = row(*annotated(Extra).values())


def extra_of(value: Any) -> Extra:
    """Read what a job left besides its result.  Raises :exc:`MessageRefused` for what is none."""
    return Extra(*EXTRA(value))


def pack_extra(extra: Extra, size: int) -> bytes:
    """Return what stands before the data, of ``size`` bytes, of a job that left more than that."""
    packed: bytes = msgpack.packb(extra)
    gap = -(wire.EXTRA.size + len(packed)) % wire.ALIGNED if size >= wire.LARGE else 0
    return wire.EXTRA.pack(len(packed), gap) + packed + bytes(gap)


def with_extra(data: wire.Buffer) -> tuple[Extra, wire.Buffer]:
    """Split what :func:`pack_extra` stands before.  Raises :exc:`BatchRefused` for what is none."""
    try:
        size, gap = wire.EXTRA.unpack_from(data)
        end = wire.EXTRA.size + size
        return extra_of(msgpack.unpackb(data[wire.EXTRA.size : end])), data[end + gap :]
    except (ValueError, struct.error, MessageRefused) as error:
        raise unusable(f"what a job left: {error}") from error


def outcomes(said: wire.Blob, jobs: int = 1 << 32) -> Iterator[Outcome]:
    """Read result records: index, kind, data, started (epoch seconds), seconds, output and memory.

    Raises :exc:`BatchRefused` for one that cannot be of a batch of so many ``jobs``.
    """
    unpack, size, extras = wire.RECORD.unpack_from, wire.RECORD.size, wire.WITH_EXTRA
    records = wire.buffer_of(said)
    offset, end = 0, len(records)
    while offset < end:
        if end - offset < size:
            raise unusable("half a record")
        index, kind, length, started, ran = unpack(records, offset)
        offset += size
        data: wire.Buffer = wire.owned(records[offset : offset + length])
        offset += length
        extra = None
        # a comparison with what is no number is false; clocks may be set back while a job runs
        if not (index < jobs and offset <= end and 0.0 <= started <= LATEST and -GREATEST < ran < GREATEST):
            raise unusable(f"a record of job {index}, begun at {started:g}, for {ran:g} s")
        if kind & extras:
            kind &= ~extras
            extra, data = with_extra(data)
        if kind > outcome.GROUP:
            raise unusable(f"an outcome of the unknown kind {kind}")
        yield index, kind, data, started, ran, extra
