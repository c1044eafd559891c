"""The process of one job: forked by a slot, and gone with all that it started when the job is over.

    slot ── fork ──> job process ── frames (events, one outcome) ──> slot
                     its descriptors 1 and 2 ── output ──────────────> slot

So whatever a job does to its process (directory, environment, signals, threads, modules, open files) is gone after
it, and the slot that answers for it stays as it was.  A frame is a length (8 bytes), a kind (1 byte) and a body.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import io
import mmap
import os
import random
import select
import signal
import struct
import sys
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from octapi.pool import descendants
from octapi.pool.output_capture import OUTPUT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

#: what a job process sends
OUTCOME: Final = b"O"  # kind (1 byte), started, ended (8 bytes each, nanoseconds of the epoch), then the data
LARGE: Final = b"L"  # the same, and in the data's place their length (8 bytes): they are in shared memory
EVENT: Final = b"V"  # msgpack of (kind, ...), as Slot.event has it
IMPORTED: Final = b"I"  # the names of modules that the job imported, with spaces between
HEAD: Final = struct.Struct("<QB")
#: how often to look whether a job process has ended, where the system cannot tell, in milliseconds
LOOK_MS: Final = 20
PART: Final = 1 << 16
#: outcomes from this length on go through shared memory, in bytes
SHARED: Final = 1 << 20
TIMES: Final = struct.Struct("<Bqq")
SIZE: Final = struct.Struct("<Q")
#: what is passed on at once of each piece of a job's stderr, in case that its slot is killed, in bytes
LAST_WORDS: Final = 4096
NEW_JOB: Final = b"\0"


class Outcome(NamedTuple):
    """What came of a job: its kind, its data, and when it began and ended, in nanoseconds of the epoch."""

    kind: int
    data: bytes | memoryview
    started: int
    ended: int


class Ended(NamedTuple):
    """How a job process ended.

    ``outcome`` is what it sent, None if it ended without; ``status`` as of wait(2); ``memory`` the most it
    held, in bytes; ``too_large`` says that it wrote more than its limit, and was killed for it; ``left`` counts the
    processes that it left running, and that were ended.
    """

    outcome: Outcome | None
    imported: list[str]
    stdout: bytes
    stderr: bytes
    status: int
    memory: int
    too_large: bool
    left: int


class Pipes:
    """What a slot's job processes, one after the other, write to: their output and their frames."""

    def __init__(self) -> None:
        #: something of an earlier job stands in the slot's own stderr
        self.has_said = False
        self.large = -1
        self.open()

    def open(self) -> None:
        """Make the pipes.  Raises OSError when no descriptors are left."""
        self.out, self.out_end = os.pipe()
        self.err, self.err_end = os.pipe()
        self.frames, self.frames_end = os.pipe()
        for fd in (self.out, self.err, self.frames):
            os.set_blocking(fd, False)

    def share(self) -> None:
        """Make memory for a large outcome of the next job alone, where the system has it; unused it takes none."""
        if self.large >= 0:
            os.close(self.large)
            self.large = -1
        if hasattr(os, "memfd_create"):
            self.large = os.memfd_create("octapi-outcome", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)

    def take_large(self, size: int) -> memoryview:
        """Return the large outcome that a job process has written.

        Raises OSError and ValueError when it is not there: nobody may shorten it afterwards.
        """
        fd, self.large = self.large, -1  # it is not to stay while the slot is idle
        try:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            if os.fstat(fd).st_size < size:
                raise ValueError("its outcome was cut short by the job itself")
            return memoryview(mmap.mmap(fd, size, prot=mmap.PROT_READ))
        finally:
            os.close(fd)

    def renew(self) -> None:
        """Begin anew, after a job process that was killed while it wrote."""
        self.close()
        self.open()

    def close(self) -> None:
        """Close all ends."""
        for fd in (self.out, self.out_end, self.err, self.err_end, self.frames, self.frames_end, self.large):
            if fd >= 0:
                os.close(fd)
        self.large = -1


class Pump:
    """Takes what one job process writes until it has ended."""

    def __init__(self, pid: int, pipes: Pipes, on_event: Callable[[bytes], None]) -> None:
        self.pid = pid
        self.pipes = pipes
        self.on_event = on_event
        self.output = {pipes.out: bytearray(), pipes.err: bytearray()}
        self.buffer = bytearray()
        self.outcome: Outcome | None = None
        self.imported: list[str] = []
        self.too_large = False

    def run(self) -> tuple[int, int]:
        """Return the wait status and the most memory, in bytes, when the process has ended."""
        poll = select.poll()
        for fd in (*self.output, self.pipes.frames):
            poll.register(fd, select.POLLIN)
        life = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else -1
        if life >= 0:
            poll.register(life, select.POLLIN)
        try:
            while True:
                ready = {fd for fd, _ in poll.poll(None if life >= 0 else LOOK_MS)}
                self._take(ready)
                if life < 0 or life in ready:
                    pid, status, usage = os.wait4(self.pid, os.WNOHANG)
                    if pid:
                        self._take({*self.output, self.pipes.frames})
                        return status, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        finally:
            if life >= 0:
                os.close(life)

    def _take(self, ready: set[int]) -> None:
        for fd, kept in self.output.items():
            if fd in ready:
                before = len(kept)
                self._drain(fd, kept)
                if fd == self.pipes.err and len(kept) > before:
                    self.pipes.has_said = True
                    os.write(2, bytes(kept[max(before, len(kept) - LAST_WORDS) :]))
                if len(kept) > OUTPUT_LIMIT:
                    del kept[OUTPUT_LIMIT:]
                    self._stop_flood()
        if self.pipes.frames in ready:
            self._drain(self.pipes.frames, self.buffer)
            self._frames()

    def _drain(self, fd: int, into: bytearray) -> None:
        """Read what is there, but no more than a flood's worth at a time."""
        for _ in range(64):
            try:
                part = os.read(fd, PART * 16)
            except BlockingIOError:
                return
            if not part:
                return
            into += part

    def _stop_flood(self) -> None:
        if not self.too_large:
            self.too_large = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _frames(self) -> None:
        start = 0
        while len(self.buffer) - start >= HEAD.size:
            size, kind = HEAD.unpack_from(self.buffer, start)
            if len(self.buffer) - start < HEAD.size + size:
                break
            body = bytes(memoryview(self.buffer)[start + HEAD.size : start + HEAD.size + size])
            start += HEAD.size + size
            if kind in (OUTCOME[0], LARGE[0]):
                self.outcome = self._outcome(body, is_large=kind == LARGE[0])
            elif kind == EVENT[0]:
                self.on_event(body)
            elif kind == IMPORTED[0]:
                self.imported = body.decode().split()
        del self.buffer[:start]

    def _outcome(self, body: bytes, *, is_large: bool) -> Outcome | None:
        try:
            kind, started, ended = TIMES.unpack_from(body)
            data: bytes | memoryview = body[TIMES.size :]
            if is_large:
                data = self.pipes.take_large(*SIZE.unpack(data))
            return Outcome(kind, data, started, ended)
        except (
            OSError,
            ValueError,
            struct.error,
        ):  # the job has tampered with it, or there is no memory: as if it had sent none
            return None


def run(
    pipes: Pipes, job: Callable[[Sender], None], on_event: Callable[[bytes], None], on_pid: Callable[[int], None]
) -> Ended:
    """Fork, let the child run ``job``, and return how it ended.  ``on_pid`` is told its process id, and 0 afterwards.

    Raises OSError when no process can be started.
    """
    if pipes.has_said:
        pipes.has_said = False
        os.write(2, NEW_JOB)
    pipes.share()
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        pid = os.fork()
        if pid == 0:
            be(pipes, job)
        on_pid(pid)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    pump = Pump(pid, pipes, on_event)
    status, memory = pump.run()
    on_pid(0)
    left = 0 if descendants.reap() else descendants.end_all()
    if os.WIFSIGNALED(status):
        pipes.renew()
    out, err = (bytes(kept) for kept in pump.output.values())
    return Ended(pump.outcome, pump.imported, out, err, status, memory, pump.too_large, left)


class Sender:
    """The child's way to its slot."""

    def __init__(self, fd: int, large: int) -> None:
        self._fd = fd
        self._large = large
        self._owner = os.getpid()

    def outcome(self, kind: int, data: bytes, started: int, ended: int) -> None:
        """Send what came of the job; large data through shared memory."""
        times = TIMES.pack(kind, started, ended)
        if len(data) < SHARED or self._large < 0:
            return self.send(OUTCOME, times + data)
        try:
            rest = memoryview(data)
            while rest and os.getpid() == self._owner:  # at its place, wherever the job has written
                rest = rest[os.pwrite(self._large, rest, len(data) - len(rest)) :]
        except OSError:  # a limit on files that the job has set, or a seal: a pipe knows neither
            return self.send(OUTCOME, times + data)
        return self.send(LARGE, times + SIZE.pack(len(data)))

    def send(self, kind: bytes, body: bytes) -> None:
        """Send one frame; a process that the job forked has nothing to say here, and ends."""
        if os.getpid() != self._owner:
            os._exit(0)
        data = memoryview(HEAD.pack(len(body), kind[0]) + body)
        while data:
            data = data[os.write(self._fd, data) :]


def be(pipes: Pipes, job: Callable[[Sender], None]) -> NoReturn:
    """Be the job process, in a child just forked."""
    code = 1
    try:
        descendants.die_with_parent()
        descendants.open_to_others()
        os.dup2(pipes.out_end, 1)
        os.dup2(pipes.err_end, 2)
        sender = Sender(os.dup(pipes.frames_end), -1 if pipes.large < 0 else os.dup(pipes.large))
        pipes.close()
        sys.stdout, sys.stderr = stream(1, "<stdout>"), stream(2, "<stderr>")
        vars(sys).update(__stdout__=sys.stdout, __stderr__=sys.stderr)
        faulthandler.enable(file=2, all_threads=False)
        reseed()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
        job(sender)
        code = 0
    finally:
        os._exit(code)


def stream(fd: int, name: str) -> io.TextIOWrapper:
    """Return a text stream on a descriptor, as an interpreter has it at its start."""
    raw = io.FileIO(fd, "wb", closefd=False)
    raw.name = name
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True)


def flush() -> None:
    """Let what the job printed, to whatever it has made its streams, go its way."""
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        with contextlib.suppress(Exception):  # a stream that the job has closed or replaced
            getattr(sys, name).flush()
    descendants.flush_c(None)  # what code in C has printed


def reseed() -> None:
    """Give this process random numbers of its own."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def threads_left() -> list[str]:
    """Return the names of threads that go on after the job; daemon threads are meant to end with their process."""
    here = threading.current_thread()
    return [thread.name for thread in threading.enumerate() if thread is not here and not thread.daemon]
