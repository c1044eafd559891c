"""The slot: a process that executes jobs, one after the other.

    agent ── define, run ──> slot ── records in the journal, sent in frames ──> agent

Each job has a process of its own, forked from here (see :mod:`octapi.pool.job_process`), unless its code and its
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

from octapi import job_context
from octapi.errors import JobError, ResultTooLarge
from octapi.pickling import dumps_result
from octapi.pool import descendants, job_directory, job_process, loader, shared_state
from octapi.pool.batch_jobs import BatchJobs
from octapi.pool.encoding import failure, traceback_text, value
from octapi.pool.imports import Imports
from octapi.pool.loaded_computation import LoadedComputation
from octapi.pool.output_capture import Capture, too_much
from octapi.pool.program import Ran
from octapi.pool.recorder import NOTEWORTHY_NS, SENDS_EVENT, SENDS_REFUSAL, Recorder
from octapi.protocol import outcome, wire
from octapi.protocol.computation import Computation
from octapi.protocol.outcome import Extra
from octapi.protocol.plain import SIMPLE
from octapi.protocol.records import pack_extra
from octapi.settings import Internal, internal

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from octapi.pool.namespace import Namespace

#: the variable that tells a slot how large a result may be, in bytes
#: results older than this are sent before the next job starts, in nanoseconds
FLUSH_NS: Final = 20_000_000
#: what the name of a file and the like may take besides what is sent, in bytes
ROOM: Final = 1 << 20


class Slot:
    """The child's side of one slot."""

    def __init__(self, sock: socket.socket, page: shared_state.SharedState, namespace: Namespace) -> None:
        self.sock = sock
        self.page = page
        self.stdout, self.stderr = Capture(), Capture()
        self.records = Recorder(sock, page)
        #: what names the batch's jobs: 8 bytes each, or the page and the first place of a map's items
        self.ids: Any = b""
        self.serial = 0
        self.index = 0
        self.namespace = namespace
        self.loaded: dict[str, LoadedComputation] = {}
        self.largest = min(int(internal(Internal.SLOT_LARGEST) or 1 << 30), wire.LARGEST)
        self.current = ""
        self.pipes = job_process.Pipes()
        self.imports = Imports()
        #: the way to the slot in a job's own process
        self.sender: job_process.Sender | None = None
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
        self.event("file", *job_directory.read_for_client(path))

    def job_id(self) -> str:
        """Name the job that runs: the same for each start of it, and for no other."""
        _, client, queue = self.current.rsplit("-", 2)
        if isinstance(self.ids, bytes):
            return f"{client}-{queue}-{struct.unpack_from('=Q', self.ids, 8 * self.index)[0]}"
        page, start = self.ids
        return f"{client}-{queue}-{page}.{start + self.index}"

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
            raise ResultTooLarge(text, worker=self.namespace.worker)
        if self.sender is not None:
            self.sender.send(job_process.EVENT, body)
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
            body = bytearray(wire.LENGTH.unpack(head)[0])
            if reader.readinto(body) < len(body):
                return
            message = wire.unpack(body)
            del body
            if message[0] == "define":
                self.define(message[1], bytes(wire.buffer_of(message[2])))
            elif message[0] == "run":
                self.run_batch(*message[1:])
            elif message[0] == "forget":
                self.forget(message[1])
            message = None  # not to stay while the slot is idle

    def define(self, digest: str, spec: bytes) -> None:
        """Take a computation, and load it."""
        try:
            computation = Computation.from_bytes(spec)
            home = job_directory.prepare(computation, digest)
            loaded = LoadedComputation(computation, home, self.namespace.of_directory(home))
            self.loaded[digest] = loaded
            self.switch(digest)
            loaded.prepared = loader.load(computation, self.namespace, self.names_in(loaded.home))
            if loaded.prepared.check is not None:
                self.check(loaded.prepared.check)
            gc.freeze()  # what job processes share is not to be written to by the collector
        except BaseException as error:
            self.refuse(digest, traceback_text(error))

    def names_in(self, home: str) -> dict[str, Any]:
        """Return the names that the jobs of a computation find, whose files are in ``home``."""
        return self.namespace.of_worker() | self.namespace.of_directory(home) | self.own_names()

    def own_names(self) -> dict[str, Any]:
        """Return the names by which a job talks to its client."""
        return self.namespace.of_slot(self.provisional_result, self.send_file)

    def check(self, load: Callable[[], object]) -> None:
        """Try in a process of its own whether a computation can be loaded.  Raises :exc:`JobError` if not."""

        def attempt(sender: job_process.Sender) -> None:
            self.be_apart()
            try:
                load()
            except BaseException as error:
                sender.outcome(outcome.FAULT, traceback_text(error).encode("utf-8", "replace"), 0, 0)

        ended = job_process.run(self.pipes, attempt, lambda _: None, self.has_process)
        if ended.outcome is not None:
            raise JobError(bytes(ended.outcome.data).decode())

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
            os.chdir(job_directory.home())

    def switch(self, digest: str) -> None:
        """Work for another computation: in its directory, with its modules."""
        if digest != self.current:
            if self.current in self.loaded:
                self.loaded[self.current].leave()
            self.loaded[digest].enter()
            self.current = digest

    def adopt(self, digest: str, loaded: LoadedComputation) -> None:
        """Take a computation that the parent process has set up."""
        self.loaded[digest] = loaded
        self.current = digest

    def run_batch(
        self,
        serial: int,
        digest: str,
        form: str,
        data: wire.Blob,
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
            return self.records.end(skip)
        self.switch(digest)
        self.records.grouped = grouped
        self.ids = ids
        cells[shared_state.LIMIT] = shared_state.IDLE
        items = form == wire.ITEMS
        payloads = pickle.loads(wire.buffer_of(data)) if items else wire.jobs_of(form, data)
        work = BatchJobs(found, items, job_directory.job_code(extra))
        sys.stdout, sys.stderr = self.stdout, self.stderr
        stop = self.loop(work, payloads, skip, int(budget_s * 1e9))
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        cells[shared_state.ENDED] = shared_state.place(serial, stop)
        cells[shared_state.CURRENT] = shared_state.IDLE
        job_directory.remove_job_files(extra)
        return self.records.end(stop)

    def loop(self, work: BatchJobs, payloads: Sequence[Any], skip: int, budget: int) -> int:
        """Run jobs until the batch, its budget (in nanoseconds) or its limit ends; return the first index not run."""
        cells, monotonic, clock = self.page.cells, time.monotonic_ns, time.time_ns
        run = self.run_here if work.is_harmless else self.run_apart
        started = flushed = clock()
        end = started + budget
        base = shared_state.place(self.serial, 0)
        for index in range(skip, len(payloads)):
            cells[shared_state.STARTED] = monotonic()
            cells[shared_state.CURRENT] = base + index
            if cells[shared_state.LIMIT] <= base + index:
                return index
            self.index = index
            started = run(work, payloads[index], started)
            if started - flushed > FLUSH_NS:
                self.records.flush()
                flushed = started
            if started > end:
                return index + 1
        return len(payloads)

    def run_here(self, work: BatchJobs, payload: Any, started: int) -> int:
        """Run a harmless job in this process; return when it ended, in nanoseconds of the epoch."""
        stdout, stderr = self.stdout, self.stderr
        try:
            self.is_here = True
            if work.of_items is not None:
                result = work.of_items(*payload)
            elif (found := work.harmless(payload)) is not None:
                call, args, kwargs = found
                result = call(*args, **kwargs)
            else:
                self.is_here = False
                return self.run_apart(work, payload, started)
            self.is_here = False
            if result.__class__ in SIMPLE and not (stdout.used or stderr.used):
                kind, data = outcome.VALUE, b"" if result is None else pickle.dumps(result, 5)
                ended = time.time_ns()
                if self.records.record_plain(self.index, result, data, started, ended):
                    return ended
            else:
                kind, data = self.outcome(result)
        except BaseException as error:
            self.is_here = False
            kind, data = failure(error)
        ended = time.time_ns()
        self.finished(kind, data, started, ended, stdout.take(), stderr.take(), 0)
        return ended

    # ---- a job in a process of its own

    def run_apart(self, work: BatchJobs, payload: Any, started: int) -> int:
        """Run a job in a process of its own; return when it ended, in nanoseconds of the epoch."""
        place = job_directory.JobPlace(work.loaded.computation, work.loaded.home)
        ended = job_process.run(
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
            kind, data, began, now = ended.outcome
            self.finished(kind, data, began, now, stdout, stderr, ended.memory)
        self.imports.learn(ended.imported)
        return now

    def be_apart(self) -> None:
        """Let a process that was forked from the slot not have the slot's way to its agent."""
        os.close(self.sock.detach())  # closing the socket would wait for the file that reads from it

    def be_job(self, sender: job_process.Sender, work: BatchJobs, payload: Any, place: job_directory.JobPlace) -> None:
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
        for name in job_process.threads_left():
            print(f"octapi: the thread {name!r} that this job left running was ended with it.", file=sys.__stderr__)
        job_process.flush()
        if names := self.imports.new(modules, work.loaded.home, work.takes_function):
            sender.send(job_process.IMPORTED, " ".join(names).encode())
        sender.outcome(kind, data, started, ended)

    def has_process(self, pid: int) -> None:
        """Take note of the running job's process, and interrupt it if that was asked before; 0 when it has ended."""
        cells = self.page.cells
        cells[shared_state.PROCESS] = pid
        if pid and cells[shared_state.INTERRUPT] == cells[shared_state.CURRENT] != shared_state.IDLE:
            cells[shared_state.INTERRUPT] = shared_state.IDLE
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

    def finished(
        self, kind: int, data: wire.Buffer, started: int, ended: int, stdout: str, stderr: str, memory: int
    ) -> None:
        """Record an outcome with what else is known of its job; ``memory`` is the most it held, in bytes."""
        if kind & ~wire.WITH_EXTRA in (outcome.ERROR, outcome.FAULT):
            self.page.cells[shared_state.FAILED] += 1
        if len(data) > self.largest:
            kind, data = outcome.FAULT, self.too_large(len(data))
        extra = b""
        if not kind & wire.WITH_EXTRA and (stdout or stderr or ended - started > NOTEWORTHY_NS):
            kind, extra = kind | wire.WITH_EXTRA, pack_extra(Extra(stdout, stderr, memory or peak_memory()), len(data))
        self.records.record(self.index, kind, data, started, ended, extra)

    def too_large(self, size: int) -> bytes:
        """Return the outcome of a job whose result is too large to travel."""
        text = (
            f"Its result takes {size / 1e6:,.0f} MB; the limit of its worker is {self.largest >> 20} MB (largest_mb). "
            "Let it write a file and return its name, or set OCTAPI_LARGEST_MB on the workers."
        )
        return pickle.dumps(ResultTooLarge(text, worker=self.namespace.worker))

    def program(self, ran: Ran) -> tuple[int, bytes]:
        """Pack what a program left."""
        data = pickle.dumps(ran.exit_code)
        return outcome.PROGRAM | wire.WITH_EXTRA, pack_extra(Extra(ran.stdout, ran.stderr, peak_memory()), 0) + data


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
        if (
            cells[shared_state.CURRENT] == shared_state.IDLE
            or cells[shared_state.INTERRUPT] != cells[shared_state.CURRENT]
        ):
            return
        if slot.is_here:
            slot.is_here = False
            cells[shared_state.INTERRUPT] = shared_state.IDLE
            raise KeyboardInterrupt
        if cells[shared_state.PROCESS]:
            cells[shared_state.INTERRUPT] = shared_state.IDLE
            with contextlib.suppress(ProcessLookupError):
                os.kill(cells[shared_state.PROCESS], signal.SIGINT)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main(sock: socket.socket, page_fd: int, namespace: Namespace, adopted: tuple[Any, ...] | None = None) -> None:
    """Be a slot, in a process just forked, until the agent hangs up."""
    slot = Slot(sock, shared_state.SharedState(page_fd), namespace)
    slot.page.keep_from_children()
    job_context._slot = slot
    handle_interrupts(slot)
    descendants.adopt_orphans()
    if adopted is not None:
        digest, computation, build, home = adopted
        build.update(slot.own_names())
        loaded = LoadedComputation(computation, home, namespace.of_directory(home))
        loaded.prepared = loader.from_setup(computation, build)
        slot.adopt(digest, loaded)
    threading.current_thread().name = "octapi-slot"
    slot.serve()
