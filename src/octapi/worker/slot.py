"""The slot: a process that executes jobs, one after the other.

    agent ── define, run ──> slot ── records in the journal, sent in frames ──> agent

Each job has a process of its own, forked from here (see :mod:`octapi.worker.jobprocess`), unless its code and its
arguments are harmless: those run here, one after the other, each with fresh globals.  So this process stays as it was,
whatever jobs do.  It runs no thread of its own and never imports Dask.  A frame to the agent is a length (4 bytes),
a kind (1 byte) and a body; see the ``SENDS_`` constants.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import pickle
import signal
import struct
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgpack

from octapi import inside
from octapi.dispatch import outcome, wire
from octapi.dispatch.computation import Computation
from octapi.dispatch.span import SIMPLE
from octapi.errors import JobError, ResultTooLarge
from octapi.pickling import dumps_result
from octapi.worker import descendants, directory, jobprocess, journal, loader
from octapi.worker.imports import Imports
from octapi.worker.loaded import Loaded
from octapi.worker.outcome import failure, traceback_text, value
from octapi.worker.output import Capture, too_much
from octapi.worker.program import Ran
from octapi.worker.records import SENDS_END, SENDS_EVENT, SENDS_REFUSAL, Recorder
from octapi.worker.work import Work

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

#: the variable that tells a slot how large a result may be, in bytes
LARGEST: Final = "OCTAPI_SLOT_LARGEST"
#: results older than this are sent before the next job starts, in nanoseconds
FLUSH_NS: Final = 20_000_000
#: what the name of a file and the like may take besides what is sent, in bytes
ROOM: Final = 1 << 20
#: a slot measures its memory after jobs that took longer than this, in nanoseconds
NOTEWORTHY_NS: Final = 1_000_000


class Slot:
    """The child's side of one slot."""

    def __init__(self, sock: socket.socket, page: journal.Page, names: dict[str, Any]) -> None:
        self.sock = sock
        self.page = page
        self.stdout, self.stderr = Capture(), Capture()
        self.records = Recorder(sock, page)
        #: what names the batch's jobs: 8 bytes each, or the page and the first place of a map's items
        self.ids: Any = b""
        self.serial = 0
        self.index = 0
        self.given = dict(names, dispy_provisional_result=self.provisional_result, dispy_send_file=self.send_file)
        self.loaded: dict[str, Loaded] = {}
        self.largest = int(os.environ.get(LARGEST) or 1 << 30)
        self.current = ""
        self.pipes = jobprocess.Pipes()
        self.imports = Imports()
        #: the way to the slot in a job's own process
        self.sender: jobprocess.Sender | None = None
        #: a job runs in this process now, and may be interrupted
        self.is_here = False

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
        """Tell the agent something about the running job, from its own process or from here.

        Raises :exc:`ResultTooLarge`.
        """
        body = msgpack.packb((kind, *facts))
        if len(body) > self.largest + ROOM:
            text = (
                f"What it sends ({kind}) takes {len(body) / 1e6:,.0f} MB; the limit of its worker is "
                f"{self.largest >> 20} MB (largest_mb). Send it in parts, or set OCTAPI_LARGEST_MB on the workers."
            )
            raise ResultTooLarge(text, worker=str(self.given.get("dispy_node_name", "")))
        if self.sender is not None:
            self.sender.send(jobprocess.EVENT, body)
        else:
            self.pass_on(body)

    def pass_on(self, body: bytes) -> None:
        """Send an event of the running job to the agent."""
        self.records.flush()
        self.records.send(SENDS_EVENT, msgpack.packb((self.index, *msgpack.unpackb(body))))

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
        """Take a computation, and load it."""
        try:
            computation = Computation.from_bytes(spec)
            loaded = Loaded(computation, directory.prepare(computation, digest))
            self.loaded[digest] = loaded
            self.switch(digest)
            loaded.prepared = loader.load(computation, dict(self.given, dispy_job_path=loaded.home))
            if loaded.prepared.check is not None:
                self.check(loaded.prepared.check)
            gc.freeze()  # what job processes share is not to be written to by the collector
        except BaseException as error:
            self.refuse(digest, traceback_text(error))

    def check(self, load: Callable[[], object]) -> None:
        """Try in a process of its own whether a computation can be loaded.  Raises :exc:`JobError` if not."""

        def attempt(sender: jobprocess.Sender) -> None:
            self.be_apart()
            try:
                load()
            except BaseException as error:
                sender.send(jobprocess.OUTCOME, traceback_text(error).encode("utf-8", "replace"))

        ended = jobprocess.run(self.pipes, attempt, lambda _: None, self.has_process)
        if ended.outcome is not None:
            raise JobError(ended.outcome.decode())

    def refuse(self, digest: str, text: str) -> None:
        """Say that a computation cannot be loaded, and let go of what it left."""
        found = self.loaded.pop(digest, None)
        if found is not None and digest == self.current:
            found.leave()
            self.current = ""
        self.records.send(SENDS_REFUSAL, msgpack.packb((digest, text)))

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
            self.records.send(SENDS_END, struct.pack("<I", skip))
            return
        self.switch(digest)
        self.records.grouped = grouped
        self.ids = ids
        cells[journal.LIMIT] = journal.IDLE
        items = form == wire.ITEMS
        payloads = pickle.loads(data) if items else wire.unpack(data)
        work = Work(found, items, directory.job_code(extra))
        sys.stdout, sys.stderr = self.stdout, self.stderr
        stop = self.loop(work, payloads, skip, int(budget_s * 1e9))
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        cells[journal.ENDED] = journal.place(serial, stop)
        cells[journal.CURRENT] = journal.IDLE
        directory.remove_job_files(extra)
        self.records.flush()
        self.records.send(SENDS_END, struct.pack("<I", stop))

    def loop(self, work: Work, payloads: list[Any], skip: int, budget: int) -> int:
        """Run jobs until the batch, its budget (in nanoseconds) or its limit ends; return the first index not run."""
        cells, monotonic, clock = self.page.cells, time.monotonic_ns, time.time_ns
        run = self.run_here if work.is_harmless else self.run_apart
        started = flushed = clock()
        end = started + budget
        base = journal.place(self.serial, 0)
        for index in range(skip, len(payloads)):
            cells[journal.STARTED] = monotonic()
            cells[journal.CURRENT] = base + index
            if cells[journal.LIMIT] <= base + index:
                return index
            self.index = index
            started = run(work, payloads[index], started)
            if started - flushed > FLUSH_NS:
                self.records.flush()
                flushed = started
            if started > end:
                return index + 1
        return len(payloads)

    def run_here(self, work: Work, payload: Any, started: int) -> int:
        """Run a harmless job in this process; return when it ended, in nanoseconds of the epoch."""
        stdout, stderr = self.stdout, self.stderr
        try:
            self.is_here = True
            found = work.harmless(payload)
            if found is not None:
                call, args, kwargs = found
                result = call(*args, **kwargs)
            self.is_here = False
            if found is None:
                return self.run_apart(work, payload, started)
            if self.records.grouped and result.__class__ in SIMPLE and not (stdout.used or stderr.used):
                self.records.record_plain(self.index, result, started)
                return time.time_ns()
            kind, data = self.outcome(result)
        except BaseException as error:
            self.is_here = False
            kind, data = failure(error)
        ended = time.time_ns()
        self.finished(kind, data, started, ended, stdout.take(), stderr.take(), 0)
        return ended

    # ---- a job in a process of its own

    def run_apart(self, work: Work, payload: Any, started: int) -> int:
        """Run a job in a process of its own; return when it ended, in nanoseconds of the epoch."""
        place = directory.JobPlace(work.loaded.computation, work.loaded.home)
        ended = jobprocess.run(
            self.pipes, lambda sender: self.be_job(sender, work, payload, place), self.pass_on, self.has_process
        )
        place.remove()
        stdout, stderr = (text.decode("utf-8", "backslashreplace") for text in (ended.stdout, ended.stderr))
        if ended.left:
            stderr += f"octapi: {ended.left} process(es) that this job left running were ended with it.\n"
        now = time.time_ns()
        if ended.too_large:
            self.finished(*failure(too_much()), started, now, stdout, stderr, ended.memory)
        elif ended.outcome is None:
            die_as(ended.status)
        else:
            kind, data, began, now = msgpack.unpackb(ended.outcome, max_bin_len=wire.FRAME_LIMIT)
            self.finished(kind, data, began, now, stdout, stderr, ended.memory)
        self.imports.learn(ended.imported)
        return now

    def be_apart(self) -> None:
        """Let a process that was forked from the slot not have the slot's way to its agent."""
        os.close(self.sock.detach())  # closing the socket would wait for the file that reads from it

    def be_job(self, sender: jobprocess.Sender, work: Work, payload: Any, place: directory.JobPlace) -> None:
        """Run one job in a process that was forked for it, and send what came of it."""
        self.sender = sender
        self.be_apart()
        modules = set(sys.modules)
        started = time.time_ns()
        try:
            place.enter()
            work.loaded.be_script()
            kind, data = self.outcome(work.run(payload))
        except BaseException as error:
            kind, data = failure(error)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ended = time.time_ns()
        for name in jobprocess.threads_left():
            print(f"octapi: the thread {name!r} that this job left running was ended with it.", file=sys.__stderr__)
        jobprocess.flush()
        if names := self.imports.new(modules, work.loaded.home, work.takes_function):
            sender.send(jobprocess.IMPORTED, " ".join(names).encode())
        sender.send(jobprocess.OUTCOME, msgpack.packb((kind, data, started, ended)))

    def has_process(self, pid: int) -> None:
        """Take note of the running job's process, and interrupt it if that was asked before; 0 when it has ended."""
        cells = self.page.cells
        cells[journal.PROCESS] = pid
        if pid and cells[journal.INTERRUPT] == cells[journal.CURRENT] != journal.IDLE:
            cells[journal.INTERRUPT] = journal.IDLE
            os.kill(pid, signal.SIGINT)

    # ---- what came of a job

    def outcome(self, result: Any) -> tuple[int, bytes]:
        """Pack what a job returned."""
        if self.stdout.overflowed or self.stderr.overflowed:
            raise too_much()
        if result is None:
            return outcome.VALUE, b""
        if result.__class__ is Ran:
            return self.program(result)
        return value(result)

    def finished(self, kind: int, data: bytes, started: int, ended: int, stdout: str, stderr: str, memory: int) -> None:
        """Record an outcome with what else is known of its job; ``memory`` is the most it held, in bytes."""
        if kind & ~wire.WITH_EXTRA in (outcome.ERROR, outcome.FAULT):
            self.page.cells[journal.FAILED] += 1
        if len(data) > self.largest:
            kind, data = outcome.FAULT, self.too_large(len(data))
        if not kind & wire.WITH_EXTRA and (stdout or stderr or ended - started > NOTEWORTHY_NS):
            kind, data = kind | wire.WITH_EXTRA, msgpack.packb((data, stdout, stderr, memory or peak_memory()))
        self.records.record(self.index, kind, data, started, ended)

    def too_large(self, size: int) -> bytes:
        """Return the outcome of a job whose result is too large to travel."""
        text = (
            f"Its result takes {size / 1e6:,.0f} MB; the limit of its worker is {self.largest >> 20} MB (largest_mb). "
            "Let it write a file and return its name, or set OCTAPI_LARGEST_MB on the workers."
        )
        return pickle.dumps(ResultTooLarge(text, worker=str(self.given.get("dispy_node_name", ""))))

    def program(self, ran: Ran) -> tuple[int, bytes]:
        """Pack what a program left."""
        packed: bytes = msgpack.packb((pickle.dumps(ran.exit_code), ran.stdout, ran.stderr, peak_memory()))
        return outcome.PROGRAM | wire.WITH_EXTRA, packed


def die_as(status: int) -> NoReturn:
    """End this slot as its job's process has ended, so that its agent sees what happened."""
    faulthandler.disable()
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        time.sleep(1)  # the signal is on its way
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def peak_memory() -> int:
    """Return the most memory this process ever held resident, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def handle_interrupts(slot: Slot) -> None:
    """Let SIGINT reach only the job it is meant for: it may have ended while the signal was on its way."""

    def interrupt(_number: int, _frame: Any) -> None:
        cells = slot.page.cells
        if cells[journal.CURRENT] == journal.IDLE or cells[journal.INTERRUPT] != cells[journal.CURRENT]:
            return
        if slot.is_here:
            slot.is_here = False
            cells[journal.INTERRUPT] = journal.IDLE
            raise KeyboardInterrupt
        if cells[journal.PROCESS]:
            cells[journal.INTERRUPT] = journal.IDLE
            with contextlib.suppress(ProcessLookupError):
                os.kill(cells[journal.PROCESS], signal.SIGINT)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main(sock: socket.socket, page_fd: int, names: dict[str, Any], adopted: tuple[Any, ...] | None = None) -> None:
    """Be a slot, in a process just forked, until the agent hangs up."""
    slot = Slot(sock, journal.Page(page_fd), names)
    slot.page.keep_from_children()
    inside._slot = slot
    handle_interrupts(slot)
    descendants.adopt_orphans()
    if adopted is not None:
        digest, computation, build, home = adopted
        build.update(dispy_provisional_result=slot.provisional_result, dispy_send_file=slot.send_file)
        loaded = Loaded(computation, home)
        loaded.prepared = loader.from_setup(computation, build)
        slot.adopt(digest, loaded)
    threading.current_thread().name = "octapi-slot"
    slot.serve()
