"""What a slot tells its agent: frames, and the outcomes of jobs, which stand in the journal first."""

from __future__ import annotations

import os
import pickle
import struct
import time
from typing import TYPE_CHECKING, Any, Final

import msgpack

from octapi.errors import MessageRefused
from octapi.pool import shared_state
from octapi.pool.shared_state import COMMITTED, HEADER
from octapi.protocol import checked, outcome, wire

if TYPE_CHECKING:
    import socket

SENDS_RESULTS: Final = b"R"  # sequence (8 bytes and a gap), then records
SENDS_GROUPS: Final = b"G"  # sequence (8 bytes and a gap), then records, plain values of consecutive jobs in one
SENDS_END: Final = b"E"  # index of the first job not started (4 bytes)
SENDS_EVENT: Final = b"V"  # msgpack of (index, kind, ...) for provisional results and files
SENDS_REFUSAL: Final = b"X"  # text: the computation cannot be loaded
HEAD: Final = struct.Struct("<IB")
#: the number of a frame of records, and a gap so that arrays in them begin where they may
SEQUENCE: Final = struct.Struct("<Q8x")
RECORD_SIZE: Final = wire.RECORD.size
#: what a slot may send as an event, besides the index of its job
EVENTS: Final = {
    "provisional": checked.row(checked.blob()),
    "file": checked.row(checked.text(4096), checked.blob(), checked.integer(0, 0o177777), checked.number()),
}
#: the name of a computation, and why it cannot be loaded
REFUSAL: Final = checked.row(checked.text(), checked.text(checked.TEXT))
pack: Final = wire.RECORD.pack
#: larger values travel by themselves, in bytes
PLAIN_LIMIT: Final = 4096
#: a slot measures its memory after jobs that took longer than this, in nanoseconds
NOTEWORTHY_NS: Final = 1_000_000


class Recorder:
    """Writes outcomes into the journal and sends them; with ``grouped`` plain values of a map travel together."""

    def __init__(self, sock: socket.socket, page: shared_state.SharedState) -> None:
        self.sock = sock
        self.page = page
        self.offset = 0
        self.parts: list[bytes] = []
        self.group: list[Any] = []
        self.group_start = (0, 0)
        self.grouped = False

    def send(self, kind: bytes, body: bytes, then: bytes = b"") -> None:
        """Send one frame, and ``then`` the next, which is packed already."""
        self._write(HEAD.pack(len(body), kind[0]) + body + then)

    def _write(self, data: wire.Buffer) -> None:
        """Write to the agent; a slot whose agent is gone ends."""
        try:
            self.sock.sendall(data)
        except OSError:
            os._exit(0)

    def flush(self, then: bytes = b"") -> None:
        """Send the journal's records, and ``then`` the next frame, which is packed; start an empty journal."""
        cells = self.page.cells
        if not self.offset:
            if then:
                self._write(then)
            return
        number = SEQUENCE.pack(cells[shared_state.SEQUENCE])
        if self.grouped:
            self.close_group(time.time_ns())
            self.send(SENDS_GROUPS, number + b"".join(self.parts), then)
            self.parts.clear()
        else:
            self.send(SENDS_RESULTS, number + self.page.map[HEADER : HEADER + self.offset], then)
        self.offset = 0
        cells[shared_state.SEQUENCE] += 1
        cells[COMMITTED] = 0

    def end(self, index: int) -> None:
        """Say that a batch is over; ``index`` is its first job that was not started.

        It goes out with the last records: the agent wakes once for both.
        """
        body = struct.pack("<I", index)
        self.flush(HEAD.pack(len(body), SENDS_END[0]) + body)

    def close_group(self, now: int) -> None:
        """Make one record of the plain values since the last one; ``now`` is in nanoseconds of the epoch."""
        if self.group:
            data = pickle.dumps(self.group, 5)
            index, started = self.group_start
            head = wire.RECORD.pack(index, outcome.GROUP, len(data), started / 1e9, (now - started) / 1e9)
            self.parts.append(head + data)
            self.group = []

    def record(self, index: int, kind: int, data: wire.Buffer, started: int, ended: int, extra: bytes = b"") -> None:
        """Write one outcome into the journal, ``extra`` before its data; one that is too large is sent by itself."""
        length = len(extra) + len(data)
        head = wire.RECORD.pack(index, kind, length, started / 1e9, (ended - started) / 1e9) + extra
        cells = self.page.cells
        size = RECORD_SIZE + length
        if size > shared_state.SIZE // 2:
            self.flush()
            head = SEQUENCE.pack(cells[shared_state.SEQUENCE]) + head
            self._write(HEAD.pack(len(head) + len(data), SENDS_RESULTS[0]) + head)
            self._write(data)
            cells[shared_state.SEQUENCE] += 1
            return
        if HEADER + self.offset + size > shared_state.SIZE:
            self.flush()
        start = HEADER + self.offset
        self.page.map[start : start + size] = head + data
        self.offset += size
        cells[COMMITTED] = self.offset
        if self.grouped:
            self.close_group(started)
            self.parts.append(head + data)

    def record_plain(self, index: int, result: Any, data: bytes, started: int, ended: int) -> bool:
        """Write a plain value, pickled in ``data``, into the journal; False if there is more to be said of its job.

        With ``grouped`` it stands there in case this process dies, and goes into the group that is sent.  Its record
        then holds no duration: the group's does, and a dead process reports none.
        """
        size = RECORD_SIZE + len(data)
        if size > PLAIN_LIMIT or (ended - started > NOTEWORTHY_NS and not self.grouped):
            return False
        if HEADER + self.offset + size > shared_state.SIZE:
            self.flush()
        start = HEADER + self.offset
        if self.grouped:
            if not self.group:
                self.group_start = (index, started)
            self.group.append(result)
            head = pack(index, 0, len(data), 0.0, 0.0)
        else:
            head = pack(index, 0, len(data), started / 1e9, (ended - started) / 1e9)
        self.page.map[start : start + size] = head + data
        self.offset += size
        self.page.cells[COMMITTED] = self.offset
        return True


def event(body: wire.Buffer, jobs: int) -> tuple[Any, ...]:
    """Read an event of a slot with so many jobs: its kind, the index of its job, and what belongs to the kind.

    Raises :exc:`MessageRefused`, or what msgpack raises.
    """
    index, what, *facts = msgpack.unpackb(body, max_bin_len=wire.FRAME_LIMIT)
    read = EVENTS.get(what) if isinstance(what, str) else None
    if read is None:
        raise MessageRefused(f"{checked.described(what)} is nothing that a slot says of a job")
    large = (wire.blob(fact) if type(fact) is bytes else fact for fact in read(facts))
    return (what, checked.integer(0, jobs - 1)(index), *large)
