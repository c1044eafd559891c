"""What a slot tells its agent: frames, and the outcomes of jobs, which stand in the journal first."""

from __future__ import annotations

import os
import pickle
import struct
import time
from typing import TYPE_CHECKING, Any, Final

from octapi.pool import shared_state
from octapi.protocol import outcome, wire

if TYPE_CHECKING:
    import socket

SENDS_RESULTS: Final = b"R"  # sequence (8 bytes), then records
SENDS_GROUPS: Final = b"G"  # sequence (8 bytes), then records, plain values of consecutive jobs in one
SENDS_END: Final = b"E"  # index of the first job not started (4 bytes)
SENDS_EVENT: Final = b"V"  # msgpack of (index, kind, ...) for provisional results and files
SENDS_REFUSAL: Final = b"X"  # text: the computation cannot be loaded
HEAD: Final = struct.Struct("<IB")
RECORD_SIZE: Final = wire.RECORD.size
#: larger values travel by themselves, in bytes
PLAIN_LIMIT: Final = 4096


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

    def send(self, kind: bytes, body: bytes) -> None:
        """Send one frame; a slot whose agent is gone ends."""
        try:
            self.sock.sendall(HEAD.pack(len(body), kind[0]) + body)
        except OSError:
            os._exit(0)

    def flush(self) -> None:
        """Send the journal's records and start an empty one."""
        cells = self.page.cells
        if not self.offset:
            return
        number = struct.pack("<Q", cells[shared_state.SEQUENCE])
        if self.grouped:
            self.close_group(time.time_ns())
            self.send(SENDS_GROUPS, number + b"".join(self.parts))
            self.parts.clear()
        else:
            self.send(SENDS_RESULTS, number + self.page.map[shared_state.HEADER : shared_state.HEADER + self.offset])
        self.offset = 0
        cells[shared_state.SEQUENCE] += 1
        cells[shared_state.COMMITTED] = 0

    def close_group(self, now: int) -> None:
        """Make one record of the plain values since the last one; ``now`` is in nanoseconds of the epoch."""
        if self.group:
            data = pickle.dumps(self.group, 5)
            index, started = self.group_start
            head = wire.RECORD.pack(index, outcome.GROUP, len(data), started / 1e9, (now - started) / 1e9)
            self.parts.append(head + data)
            self.group = []

    def record(self, index: int, kind: int, data: bytes, started: int, ended: int) -> None:
        """Write one outcome into the journal; one that is too large for it is sent by itself."""
        head = wire.RECORD.pack(index, kind, len(data), started / 1e9, (ended - started) / 1e9)
        cells = self.page.cells
        size = RECORD_SIZE + len(data)
        if size > shared_state.SIZE // 2:
            self.flush()
            self.send(SENDS_RESULTS, struct.pack("<Q", cells[shared_state.SEQUENCE]) + head + data)
            cells[shared_state.SEQUENCE] += 1
            return
        if shared_state.HEADER + self.offset + size > shared_state.SIZE:
            self.flush()
        start = shared_state.HEADER + self.offset
        self.page.map[start : start + size] = head + data
        self.offset += size
        cells[shared_state.COMMITTED] = self.offset
        if self.grouped:
            self.close_group(started)
            self.parts.append(head + data)

    def record_plain(self, index: int, result: object, started: int) -> None:
        """Write a plain value into the journal, in case this process dies, and into the group that is sent.

        Its record holds no duration: the group's does, and a dead process reports none.
        """
        data = b"" if result is None else pickle.dumps(result, 5)
        size = RECORD_SIZE + len(data)
        if size > PLAIN_LIMIT:
            self.record(index, outcome.VALUE, data, started, time.time_ns())
            return
        if shared_state.HEADER + self.offset + size > shared_state.SIZE:
            self.flush()
        start = shared_state.HEADER + self.offset
        self.page.map[start : start + size] = wire.RECORD.pack(index, 0, len(data), 0.0, 0.0) + data
        self.offset += size
        self.page.cells[shared_state.COMMITTED] = self.offset
        if not self.group:
            self.group_start = (index, started)
        self.group.append(result)
