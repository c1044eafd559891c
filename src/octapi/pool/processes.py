"""The agent's side of fork servers and slots: starting them, watching them, talking to them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgpack

from octapi.device import children
from octapi.errors import MessageRefused
from octapi.pool import claims, forkserver, job_process, recorder, shared_state, slot_end
from octapi.pool.log import warn
from octapi.protocol import wire
from octapi.protocol.exits import KilledFor
from octapi.protocol.stream import FrameStream, adopt
from octapi.settings import Internal, without_own

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.device.accounts import Account
    from octapi.pool.namespace import Namespace

#: how much of a slot's own stdout and stderr is kept, in bytes
TAIL = 4096
#: how long the cleanup of a computation may take, in seconds
CLEANUP_S = 600.0
#: how long a fork server that was hung up on may take to end, in seconds
STOP_S = 5.0
#: what a slot writes there when what follows is another job's
NEW_JOB = job_process.NEW_JOB


class SlotProcess:
    """A slot process as its agent sees it."""

    def __init__(self, number: int, owner: ForkServerClient) -> None:
        self.number = number
        self.owner = owner
        self.pid = 0
        self.asked = claims.since_boot()
        self.process: claims.Process | None = None
        self.serial = 0
        self.batch: Any = None
        self.known: set[str] = set()
        self.tail = b""
        self.exit: tuple[int, int] | None = None
        #: why no process could be started for it
        self.spawn_error: OSError | None = None
        self.sequence = 0
        self.consumed = 0
        self.failures = 0
        self.killed_for = KilledFor.NOTHING
        #: the most memory that it was seen to hold with its job's process, in bytes
        self.most = 0
        #: the run whose jobs it executes, and no other's; None until it has one
        self.run: Any = None
        #: the computation that it works for alone, because that brings modules or a setup of its own
        self.only = ""
        self.closed = False
        self.reading: asyncio.Task[None] | None = None
        self._errors, self._error_end = os.pipe()
        try:
            ours, self._theirs = socket.socketpair()
            fd = shared_state.create()
            self._journal = os.dup(fd)
            self.page = shared_state.SharedState(fd)
        except OSError:  # no more descriptors: what was opened must not stay open
            os.close(self._errors)
            os.close(self._error_end)
            raise
        ours.setblocking(False)
        self.sock = ours
        self.page.clear()
        os.set_blocking(self._errors, False)
        self.writer: FrameStream | None = None
        self.connecting = False
        self._outbox: list[wire.Frame] = []

    def new_failures(self) -> int:
        """Return how many of its jobs have ended in an error since this was asked last."""
        before, self.failures = self.failures, self.page.cells[shared_state.FAILED]
        return self.failures - before

    def fds(self) -> list[int]:
        """Return the descriptors that the process gets."""
        return [self._theirs.fileno(), self._journal, self._error_end]

    def sent(self) -> None:
        """Close our copies of the process's descriptors."""
        self._theirs.close()
        os.close(self._journal)
        os.close(self._error_end)

    @property
    def job_pid(self) -> int:
        """The process of the job that runs, if it has one of its own; else 0."""
        return 0 if self.closed else int(self.page.cells[shared_state.PROCESS])

    async def connect(self) -> FrameStream:
        """Open the streams."""
        self.connecting = True
        asyncio.get_running_loop().add_reader(self._errors, self._drain)
        self.writer = await adopt(self.sock)
        wire.write(self.writer, self._outbox)
        self._outbox.clear()
        return self.writer

    def _drain(self) -> None:
        try:
            data = os.read(self._errors, 65536)
        except BlockingIOError:
            return
        if data:
            self.tail = (self.tail + data)[-TAIL:]
        else:
            asyncio.get_running_loop().remove_reader(self._errors)

    def send(self, message: Any) -> None:
        """Send one message, or keep it until the streams are open."""
        if self.writer is None:
            self._outbox.append(wire.frame(message))
        elif not self.writer.is_closing():
            wire.write(self.writer, (wire.frame(message),))

    def born(self, pid: int) -> None:
        """Take the process that its owner says it is.  Raises :exc:`MessageRefused` when it is another's."""
        if self.pid:
            raise MessageRefused(f"slot {self.number} was started twice")
        self.pid = pid
        self._hold()

    def _hold(self) -> None:
        """Hold the process, so that signals reach it and no other."""
        try:
            self.process = claims.held(self.pid, self.owner.pid, self.asked, self.owner.account)
        except ProcessLookupError:
            return  # its end is told next
        except OSError as error:
            warn(f"a slot's process cannot be held ({error}); it is tried again before it is sent a signal.")

    def kill_for(self, reason: KilledFor) -> None:
        """Kill the process and all it started, for a reason."""
        self.killed_for = slot_end.moved(self.killed_for, reason)
        self.kill()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process and to all it started."""
        process = self._signalled()
        if process is not None:
            process.signal_all(number)

    def interrupt(self) -> None:
        """Send SIGINT to the process alone."""
        process = self._signalled()
        if process is not None:
            process.signal(signal.SIGINT)

    def _signalled(self) -> claims.Process | None:
        if self.process is None and self.pid and self.exit is None:
            with contextlib.suppress(MessageRefused):
                self._hold()
        return self.process if self.exit is None else None

    def last_words(self) -> str:
        """Return the last lines that the process wrote to its own stderr."""
        self._drain_rest()
        return self.tail.rpartition(NEW_JOB)[2].decode("utf-8", "replace").strip()

    def _drain_rest(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._errors, 65536):
                self.tail = (self.tail + data)[-TAIL:]

    def close(self) -> None:
        """Free what belongs to the process."""
        if self.closed:
            return
        self.closed = True
        if self.process is not None:
            self.process.close()
        asyncio.get_running_loop().remove_reader(self._errors)
        os.close(self._errors)
        if self.writer is not None:
            self.writer.close()
        elif not self.connecting:  # else the socket is the transport's already, and closes when that is cancelled
            self.sock.close()
        self.page.close()


class ForkServerClient:
    """A fork server process, or a prepared fork server, as its agent sees it."""

    numbers = itertools.count(1)

    def __init__(
        self, sock: socket.socket, on_end: Callable[[SlotProcess], None], account: Account | None = None
    ) -> None:
        #: its own process; 0 while that is not known, which for a prepared fork server its fork server tells
        self.pid = 0
        self.asked = claims.since_boot()
        self.held: claims.Process | None = None
        self.account = account
        self.sock = sock
        self.on_end = on_end
        self.children: dict[int, SlotProcess] = {}
        self.prepared_servers: dict[int, ForkServerClient] = {}
        self.state = "starting"
        self.text = ""
        self.on_state: Callable[[ForkServerClient], None] = lambda _: None
        self.on_gone: Callable[[], None] = lambda: None
        self.on_served: Callable[[], None] = lambda: None
        self.process: subprocess.Popen[bytes] | None = None
        #: what the process itself writes to stderr
        self.errors: IO[bytes] | None = None
        #: it has started something, so it works
        self.has_served = False
        self.buffer = bytearray()
        self.exited = False
        #: what it said that is not so, after which it is not believed any more
        self.falsehood = ""
        sock.setblocking(True)

    @classmethod
    def launch(
        cls,
        namespace: Namespace,
        on_end: Callable[[SlotProcess], None],
        env: dict[str, str],
        account: Account | None = None,
    ) -> ForkServerClient:
        """Start a fresh Python that is only a fork server, under an account if one is given."""
        ours, theirs = socket.socketpair()
        given = json.dumps([theirs.fileno(), places(), namespace.to_plain()])
        command = [sys.executable, *(["-I"] if sys.flags.isolated else ["-P"]), "-c", forkserver.START, given]
        self = cls(ours, on_end, account)
        under: dict[str, Any] = {}
        if account is not None:
            home = env[Internal.SLOT_HOME]
            under = {"user": account.uid, "group": account.gid, "extra_groups": [], "cwd": home}
            env = without_own(env, but_slots=True) | {"HOME": home, "USER": account.name, "LOGNAME": account.name}
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env=env,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stderr=self.errors,
            **under,
        )
        theirs.close()
        self.pid = self.process.pid
        self.state = "ready"
        self.watch()
        return self

    def watch(self) -> None:
        """Listen to its reports."""
        asyncio.get_running_loop().add_reader(self.sock, self._readable)

    def _readable(self) -> None:
        try:
            data = self.sock.recv(65536, socket.MSG_DONTWAIT)
        except ConnectionResetError:  # it died before it had read what it was asked
            data = b""
        if not data:
            return self._gone()
        self.buffer += data
        try:
            self._hear()
        except MessageRefused as error:
            self.falsehood = f"The process that starts its slots said what is not so: {error}."
            warn(f"a process that starts slots said what is not so ({error}); it is ended.")
            self._gone("said what is not so")
        return None

    def _hear(self) -> None:
        """Take the reports that have come whole.  Raises :exc:`MessageRefused`."""
        head = forkserver.REPORT.size
        while len(self.buffer) >= head and not self.exited:
            what, number, pid, status, size = forkserver.REPORT.unpack_from(self.buffer)
            body = size if what == forkserver.REFUSED else 0
            if body > forkserver.LONGEST:
                raise MessageRefused(f"a text of {body:,} bytes")
            if len(self.buffer) < head + body:
                return
            text = bytes(self.buffer[head : head + body])
            del self.buffer[: head + body]
            self._report(what, number, pid, status, size, text)

    def _report(self, what: int, number: int, pid: int, status: int, size: int, text: bytes) -> None:
        if what in (forkserver.READY, forkserver.REFUSED):
            if self.state != "starting":
                raise MessageRefused("that its setup has ended, once more")
            self.state = "ready" if what == forkserver.READY else "refused"
            self.text = text.decode("utf-8", "replace")
            self.on_state(self)
        elif number in self.children:
            child = self.children[number]
            if what == forkserver.STARTED:
                self._started(child, pid)
            else:
                child.exit = (status, size)
                child.spawn_error = None if pid else OSError(status, os.strerror(status))
                del self.children[number]
                self.on_end(child)
        elif number in self.prepared_servers and what == forkserver.STARTED:
            self.prepared_servers[number]._begun(pid, self.pid)
        elif number in self.prepared_servers and what == forkserver.ENDED:
            why = "died" if pid else f"could not be started: {os.strerror(status)}"
            self.prepared_servers.pop(number)._gone(why)

    def _begun(self, pid: int, parent: int) -> None:
        """Take the process of a prepared fork server.  Raises :exc:`MessageRefused` when it is another's."""
        self.pid = pid
        with contextlib.suppress(ProcessLookupError):
            self.held = claims.held(pid, parent, self.asked, self.account)

    def _started(self, child: SlotProcess, pid: int) -> None:
        child.born(pid)
        if not self.has_served:
            self.has_served = True
            self.on_served()
        if child.killed_for:
            child.kill()

    def _gone(self, why: str = "died") -> None:
        """Its process is gone: nobody tells any more how its children end, so they end now."""
        if self.exited:
            return
        self.exited = True
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()
        if self.state == "starting":
            self.state, self.text = "refused", f"The setup process {why}."
            self.on_state(self)
        self.state = "gone"
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self.held is not None:
            self.held.signal_all(signal.SIGKILL)  # it has hung up, so that it only could stay for no good
            self.held.close()
        children = list(self.children.values())
        self.children.clear()
        for child in children:
            child.kill()
            child.exit = (signal.SIGKILL, 0)
        self.on_gone()  # before the ends of the children, so that their successors are asked of the next fork server
        for child in children:
            self.on_end(child)

    def why(self) -> str:
        """Return what is known of the end of its process, for people."""
        code = None if self.process is None else self.process.poll()
        words = ""
        if self.errors is not None:
            self.errors.seek(max(0, os.fstat(self.errors.fileno()).st_size - TAIL))
            words = self.errors.read().decode("utf-8", "backslashreplace").strip()
        return f"it ended with {code}" + (f" and said:\n{words}" if words else "")

    def slot(self) -> SlotProcess:
        """Ask for a new slot process.  Raises OSError when the process is gone, or no descriptors are left."""
        self._must_live()
        child = SlotProcess(next(self.numbers), self)
        self.children[child.number] = child
        self._ask(forkserver.FORK_SLOT, child.number, child.fds())
        child.sent()
        return child

    def prepared_server(self, digest: str, spec: bytes, setup_args: bytes) -> ForkServerClient:
        """Ask for the prepared fork server of a computation; its ``on_state`` is called when setup is done.

        Raises OSError when the process is gone, or no descriptors are left.
        """
        self._must_live()
        ours, theirs = socket.socketpair()
        number = next(self.numbers)
        prepared_server = ForkServerClient(ours, self.on_end, self.account)
        self.prepared_servers[number] = prepared_server
        self._ask(forkserver.FORK_PREPARED, number, [theirs.fileno(), 2], msgpack.packb((digest, spec, setup_args)))
        theirs.close()
        prepared_server.watch()
        return prepared_server

    def _must_live(self) -> None:
        if self.exited:
            raise ProcessLookupError("the process that starts others here has died")

    def cleanup(self) -> None:
        """Let a prepared fork server run its computation's cleanup and end."""
        if not self.exited:
            self._ask(forkserver.CLEANUP, 0, [])
            asyncio.get_running_loop().call_later(CLEANUP_S, self._overdue)

    def _overdue(self) -> None:
        if not self.exited:
            warn(f"a cleanup has not ended in {CLEANUP_S:.0f} s; it is ended.")
            self._gone("did not end its cleanup")

    def _ask(self, what: int, number: int, fds: list[int], body: bytes = b"") -> None:
        try:
            socket.send_fds(self.sock, [forkserver.REQUEST.pack(what, number, len(body))], fds)
            if body:
                self.sock.sendall(body)
        except OSError:
            asyncio.get_running_loop().call_soon(self._gone)

    def close(self) -> None:
        """Hang up: the process kills its children and ends."""
        for prepared_server in list(self.prepared_servers.values()):
            prepared_server.close()
        if not self.exited:
            self.exited = True
            asyncio.get_running_loop().remove_reader(self.sock)
            self.sock.close()
        if self.process is not None:
            children.reap(self.process, STOP_S)
        if self.errors is not None:
            self.errors.close()


def places() -> list[str]:
    """Return where this process found the packages that slots need."""
    specs = [importlib.util.find_spec(name) for name in ("octapi", "msgpack", "cloudpickle")]
    found = [Path(spec.origin).absolute().parent.parent for spec in specs if spec is not None and spec.origin]
    return list(dict.fromkeys(map(str, found)))


async def frames(child: SlotProcess, on_frame: Callable[[SlotProcess, int, wire.Buffer], None], limit: int) -> None:
    """Hand every frame of a slot to ``on_frame`` until it hangs up; one whose frames make no sense is killed.

    That is also one that announces more than ``limit`` bytes, which this process would have to hold.
    """
    reader = await child.connect()
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        while True:
            size, kind = recorder.HEAD.unpack(await reader.readexactly(recorder.HEAD.size))
            if size > limit:
                warn(f"a slot announced a frame of {size:,} bytes; it is killed.")
                return child.kill_for(KilledFor.NONSENSE)
            body = await reader.read_in_place(size)
            try:
                on_frame(child, kind, body)
            except Exception as error:
                warn(f"a slot sent what cannot be used ({type(error).__name__}: {error}); it is killed.")
                return child.kill_for(KilledFor.NONSENSE)


def sequence_of(body: wire.Buffer) -> tuple[int, memoryview]:
    """Split a results frame into its sequence number and its records."""
    (number,) = recorder.SEQUENCE.unpack_from(body)
    return number, memoryview(body)[recorder.SEQUENCE.size :]
