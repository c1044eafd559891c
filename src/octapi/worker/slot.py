"""The slot: a process that executes jobs, one after the other.

    agent ── define, run ──> slot ── records in the journal, sent in frames ──> agent

It runs no thread of its own and never imports Dask.  A frame to the agent is a length (4 bytes),
a kind (1 byte) and a body; see the ``SENDS_`` constants.
"""

from __future__ import annotations

import functools
import os
import pickle
import signal
import struct
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final

import msgpack

from octapi import inside
from octapi.dispatch import ticket, wire
from octapi.dispatch.computation import Computation
from octapi.dispatch.span import SIMPLE
from octapi.errors import OutputTooLarge, ResultTooLarge
from octapi.pickling import dumps_result, loads
from octapi.worker import directory, journal, loader
from octapi.worker.loaded import Loaded
from octapi.worker.outcome import failure, value
from octapi.worker.output import Capture
from octapi.worker.program import Ran

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

SENDS_RESULTS: Final = b"R"  # sequence (8 bytes), then records
SENDS_GROUPS: Final = b"G"  # sequence (8 bytes), then records, plain values of consecutive jobs in one
SENDS_END: Final = b"E"  # index of the first job not started (4 bytes)
SENDS_EVENT: Final = b"V"  # msgpack of (index, kind, ...) for provisional results and files
SENDS_REFUSAL: Final = b"X"  # text: the computation cannot be loaded
HEAD: Final = struct.Struct("<IB")
RECORD_SIZE: Final = wire.RECORD.size
#: larger values travel by themselves, in bytes
PLAIN_LIMIT: Final = 4096
#: the variable that tells a slot how large a result may be, in bytes
LARGEST: Final = "OCTAPI_SLOT_LARGEST"
#: results older than this are sent before the next job starts, in nanoseconds
FLUSH_NS: Final = 20_000_000
#: a slot measures its memory after jobs that took longer than this, in nanoseconds
NOTEWORTHY_NS: Final = 1_000_000


class Slot:
    """The child's side of one slot."""

    def __init__(self, sock: socket.socket, page: journal.Page, names: dict[str, Any]) -> None:
        self.sock = sock
        self.page = page
        self.stdout = Capture()
        self.stderr = Capture(echo_fd=2)
        self.offset = 0
        self.parts: list[bytes] = []
        self.group: list[Any] = []
        self.group_start = (0, 0)
        self.grouped = False
        #: what names the batch's jobs: 8 bytes each, or the page and the first place of a map's items
        self.ids: Any = b""
        self.serial = 0
        self.index = 0
        self.given = dict(names, dispy_provisional_result=self.provisional_result, dispy_send_file=self.send_file)
        self.loaded: dict[str, Loaded] = {}
        self.largest = int(os.environ.get(LARGEST) or 1 << 30)
        self.current = ""

    # ---- what jobs call

    def provisional_result(self, result: Any, relay: bool = False, timeout: float = 10) -> int:
        """Hand in a result before the end of the job; return 0, or -1 if it cannot be pickled."""
        try:
            data = dumps_result(result)
        except Exception:
            traceback.print_exc()
            return -1
        self.event("provisional", data)
        return 0

    def send_file(self, path: str, relay: bool = False, timeout: float = 10) -> int:
        """Send a file to the client; return 0, or -1 if it cannot be read."""
        try:
            self.send_home(path)
        except OSError:
            traceback.print_exc()
            return -1
        return 0

    def send_home(self, path: str) -> None:
        """Send a file to the client.  Raises OSError when it cannot be read."""
        self.event("file", *directory.read_for_client(path))

    def job_id(self) -> str:
        """Name the job that runs: the same for each start of it, and for no other."""
        _, client, lane = self.current.rsplit("-", 2)
        if isinstance(self.ids, bytes):
            return f"{client}-{lane}-{struct.unpack_from('=Q', self.ids, 8 * self.index)[0]}"
        page, start = self.ids
        return f"{client}-{lane}-{page}.{start + self.index}"

    def event(self, kind: str, *facts: Any) -> None:
        """Tell the agent something about the running job."""
        self.flush()
        self.send(SENDS_EVENT, msgpack.packb((self.index, kind, *facts)))

    # ---- to the agent

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
        number = struct.pack("<Q", cells[journal.SEQUENCE])
        if self.grouped:
            self.close_group(time.time_ns())
            self.send(SENDS_GROUPS, number + b"".join(self.parts))
            self.parts.clear()
        else:
            self.send(SENDS_RESULTS, number + self.page.map[journal.HEADER : journal.HEADER + self.offset])
        self.offset = 0
        cells[journal.SEQUENCE] += 1
        cells[journal.COMMITTED] = 0

    def close_group(self, now: int) -> None:
        """Make one record of the plain values since the last one; ``now`` is in nanoseconds of the epoch."""
        if self.group:
            data = pickle.dumps(self.group, 5)
            index, started = self.group_start
            head = wire.RECORD.pack(index, ticket.GROUP, len(data), started / 1e9, (now - started) / 1e9)
            self.parts.append(head + data)
            self.group = []

    def record(self, index: int, kind: int, data: bytes, started: int, ended: int) -> None:
        """Write one outcome into the journal; one that is too large for it is sent by itself."""
        head = wire.RECORD.pack(index, kind, len(data), started / 1e9, (ended - started) / 1e9)
        cells = self.page.cells
        size = RECORD_SIZE + len(data)
        if size > journal.SIZE // 2:
            self.flush()
            self.send(SENDS_RESULTS, struct.pack("<Q", cells[journal.SEQUENCE]) + head + data)
            cells[journal.SEQUENCE] += 1
            return
        if journal.HEADER + self.offset + size > journal.SIZE:
            self.flush()
        start = journal.HEADER + self.offset
        self.page.map[start : start + size] = head + data
        self.offset += size
        cells[journal.COMMITTED] = self.offset
        if self.grouped:
            self.close_group(started)
            self.parts.append(head + data)

    def record_plain(self, index: int, result: Any, started: int) -> None:
        """Write a plain value into the journal, in case this process dies, and into the group that is sent.

        Its record holds no duration: the group's does, and a dead process reports none.
        """
        data = b"" if result is None else pickle.dumps(result, 5)
        size = RECORD_SIZE + len(data)
        if size > PLAIN_LIMIT:
            self.record(index, ticket.VALUE, data, started, time.time_ns())
            return
        if journal.HEADER + self.offset + size > journal.SIZE:
            self.flush()
        start = journal.HEADER + self.offset
        self.page.map[start : start + size] = wire.RECORD.pack(index, 0, len(data), 0.0, 0.0) + data
        self.offset += size
        self.page.cells[journal.COMMITTED] = self.offset
        if not self.group:
            self.group_start = (index, started)
        self.group.append(result)

    # ---- from the agent

    def serve(self) -> None:
        """Work until the agent closes the connection."""
        reader = self.sock.makefile("rb")
        while True:
            head = reader.read(wire.LENGTH.size)
            if len(head) < wire.LENGTH.size:
                return
            body = reader.read(wire.LENGTH.unpack(head)[0])
            message = wire.unpack(body)
            if message[0] == "define":
                self.define(message[1], message[2])
            elif message[0] == "run":
                self.run_batch(*message[1:])
            elif message[0] == "forget":
                self.forget(message[1])

    def define(self, digest: str, spec: bytes) -> None:
        """Take a computation; it is loaded when its first batch comes."""
        computation = Computation.from_bytes(spec)
        try:
            loaded = Loaded(computation, directory.prepare(computation, digest))
            self.loaded[digest] = loaded
            self.switch(digest)
            loaded.fresh = loader.load(computation, dict(self.given, dispy_job_path=loaded.home))
        except BaseException:
            self.loaded.pop(digest, None)
            self.send(SENDS_REFUSAL, msgpack.packb((digest, traceback.format_exc())))

    def forget(self, digest: str) -> None:
        """Let go of a computation, and of the modules it brought."""
        found = self.loaded.pop(digest, None)
        if found is not None and digest == self.current:
            found.leave()
            self.current = ""
            os.chdir(directory.home())

    def switch(self, digest: str) -> None:
        """Work for another computation: in its directory, with its modules."""
        if digest != self.current:
            if self.current in self.loaded:
                self.loaded[self.current].leave()
            self.loaded[digest].enter()
            self.current = digest

    def adopt(self, digest: str, loaded: Loaded) -> None:
        """Take a computation that the parent process has set up."""
        self.loaded[digest] = loaded
        self.current = digest

    def run_batch(
        self,
        serial: int,
        digest: str,
        form: str,
        data: bytes,
        skip: int,
        budget_s: float,
        extra: list[Any],
        grouped: bool = False,
        ids: Any = b"",
    ) -> None:
        """Execute the jobs from index ``skip`` on, and say which were not started."""
        cells = self.page.cells
        self.serial = serial
        found = self.loaded.get(digest)
        if found is None:
            self.send(SENDS_END, struct.pack("<I", skip))
            return
        self.switch(digest)
        self.grouped = grouped
        self.ids = ids
        cells[journal.LIMIT] = journal.IDLE
        payloads = pickle.loads(data) if form == wire.ITEMS else wire.unpack(data)
        more = directory.job_code(extra)
        sys.stdout, sys.stderr = self.stdout, self.stderr
        stop = self.loop(functools.partial(found.fresh, more), form == wire.ITEMS, payloads, skip, int(budget_s * 1e9))
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        cells[journal.ENDED] = journal.place(serial, stop)
        cells[journal.CURRENT] = journal.IDLE
        directory.remove_job_files(extra)
        self.flush()
        self.send(SENDS_END, struct.pack("<I", stop))

    def loop(self, fresh: Callable[[], loader.Call], items: bool, payloads: list[Any], skip: int, budget: int) -> int:
        """Run jobs until the batch, its budget (in nanoseconds) or its limit ends; return the first index not run."""
        cells, stdout, stderr = self.page.cells, self.stdout, self.stderr
        clock, monotonic = time.time_ns, time.monotonic_ns
        plain = SIMPLE if self.grouped else ()
        started = flushed = clock()
        end = started + budget
        base = journal.place(self.serial, 0)
        for index in range(skip, len(payloads)):
            cells[journal.STARTED] = monotonic()
            cells[journal.CURRENT] = base + index
            if cells[journal.LIMIT] <= base + index:
                return index
            self.index = index
            try:
                call = fresh()
                if items:
                    result = call(*payloads[index])
                else:
                    *function, args, kwargs = loads(payloads[index])
                    result = call(*function, args, kwargs) if function else call(*args, **kwargs)
                if result.__class__ in plain and not (stdout.used or stderr.used):
                    self.record_plain(index, result, started)
                    ended = clock()
                else:
                    kind, data = self.outcome(result)
                    ended = clock()
                    self.finished(index, kind, data, started, ended)
            except BaseException as error:
                ended = clock()
                self.finished(index, *failure(error), started, ended)
            function = args = kwargs = result = None
            started = ended
            if ended - flushed > FLUSH_NS:
                self.flush()
                flushed = ended
            if ended > end:
                return index + 1
        return len(payloads)

    def outcome(self, result: Any) -> tuple[int, bytes]:
        """Pack what a job returned."""
        if self.stdout.overflowed or self.stderr.overflowed:
            raise OutputTooLarge("The job printed more than its limit, and hid the error.")
        if result is None:
            return ticket.VALUE, b""
        if result.__class__ is Ran:
            return self.program(result)
        return value(result)

    def finished(self, index: int, kind: int, data: bytes, started: int, ended: int) -> None:
        """Record an outcome with what else is known of its job."""
        if kind & ~wire.WITH_EXTRA in (ticket.ERROR, ticket.FAULT):
            self.page.cells[journal.FAILED] += 1
        if len(data) > self.largest:
            kind, data = ticket.FAULT, self.too_large(len(data))
        if self.stdout.used or self.stderr.used:
            kind, data = kind | wire.WITH_EXTRA, self.with_output(data)
        elif ended - started > NOTEWORTHY_NS and not kind & wire.WITH_EXTRA:
            kind, data = kind | wire.WITH_EXTRA, msgpack.packb((data, "", "", peak_memory()))
        self.record(index, kind, data, started, ended)

    def too_large(self, size: int) -> bytes:
        """Return the outcome of a job whose result is too large to travel."""
        text = (
            f"Its result takes {size / 1e6:,.0f} MB; the limit of its worker is {self.largest >> 20} MB (largest_mb). "
            "Let it write a file and return its name, or set OCTAPI_LARGEST_MB on the workers."
        )
        return pickle.dumps(ResultTooLarge(text, worker=str(self.given.get("dispy_node_name", ""))))

    def with_output(self, data: bytes) -> bytes:
        """Pack a result with what its job printed."""
        packed: bytes = msgpack.packb((data, self.stdout.take(), self.stderr.take(), peak_memory()))
        return packed

    def program(self, ran: Ran) -> tuple[int, bytes]:
        """Pack what a program left."""
        packed: bytes = msgpack.packb((pickle.dumps(ran.exit_code), ran.stdout, ran.stderr, peak_memory()))
        return ticket.PROGRAM | wire.WITH_EXTRA, packed


def peak_memory() -> int:
    """Return the most memory this process ever held resident, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def handle_interrupts(slot: Slot) -> None:
    """Let SIGINT reach only the job it is meant for: it may have ended while the signal was on its way."""

    def interrupt(_number: int, _frame: Any) -> None:
        cells = slot.page.cells
        if cells[journal.CURRENT] != journal.IDLE and cells[journal.INTERRUPT] == cells[journal.CURRENT]:
            cells[journal.INTERRUPT] = journal.IDLE
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main(sock: socket.socket, page_fd: int, names: dict[str, Any], adopted: tuple[Any, ...] | None = None) -> None:
    """Be a slot, in a process just forked, until the agent hangs up."""
    slot = Slot(sock, journal.Page(page_fd), names)
    inside._slot = slot
    handle_interrupts(slot)
    if adopted is not None:
        digest, computation, build, home = adopted
        build.update(dispy_provisional_result=slot.provisional_result, dispy_send_file=slot.send_file)
        loaded = Loaded(computation, home)
        loaded.fresh = loader.from_setup(computation, build)
        slot.adopt(digest, loaded)
    threading.current_thread().name = "octapi-slot"
    slot.serve()
