"""The small process that slots are forked from.

It has one thread and never imports Dask, so a fork is quick, light and safe.  The agent sends it
requests of :data:`REQUEST` with file descriptors attached; it answers with :data:`REPORT`: a
process was started, or has ended.  When the agent goes away it kills every child and ends.

A *prepared fork server* is a fork server for one computation with ``setup``: forked from the fork server, it runs
``setup`` and then forks a slot for each job, which inherits what ``setup`` made.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import gc
import os
import pickle
import select
import shutil
import signal
import socket
import struct
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

import msgpack

from octapi.device.limits import be_first_to_die
from octapi.pool import descendants, job_directory, job_process, loader
from octapi.pool.namespace import load
from octapi.pool.source_text import compiled, execute
from octapi.protocol.computation import Computation
from octapi.settings import Internal, internal

if TYPE_CHECKING:
    from octapi.pool.namespace import Namespace

REQUEST: Final = struct.Struct("<BxxxIQ")  # what, number, bytes of the body that follows
# what, number, process id, wait status, peak memory or bytes of text; a process that could not be started ends with
# process id 0, and errno for its status
REPORT: Final = struct.Struct("<BxxxIiiQ")
FORK_SLOT: Final = 1  # with: socket, journal, stderr
FORK_PREPARED: Final = 2  # with: socket, stderr; the body is msgpack of (digest, spec, setup args)
CLEANUP: Final = 3
STARTED: Final = 1
ENDED: Final = 2
READY: Final = 3
REFUSED: Final = 4
#: the longest text of a refusal, in bytes
LONGEST: Final = 1 << 20
#: what the fork server's Python executes, with the descriptor, a list of places to import from, and names as JSON: it
#: finds this package where its parent did, after Python's own and before other packages, and nothing in the directory
#: that it is started in
START: Final = """
import json, sys
fd, places, namespace = json.loads(sys.argv[1])
sys.path[:] = [entry for entry in sys.path if entry]
ends = ("site-packages", "dist-packages")
first = next((n for n, entry in enumerate(sys.path) if entry.endswith(ends)), len(sys.path))
sys.path[first:first] = [entry for entry in places if entry not in sys.path[:first]]
sys.argv = [""]
from octapi.pool.forkserver import main
main(fd, namespace)
"""


class ForkServer:
    """A process that forks others and reports their ends."""

    def __init__(self, sock: socket.socket, namespace: Namespace) -> None:
        self.sock = sock
        self.namespace = namespace
        self.children: dict[int, int] = {}
        self.adopted: tuple[Any, ...] | None = None
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_write, False)
        os.set_blocking(self.wake_read, False)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        descendants.adopt_orphans()
        descendants.close_to_others()

    def serve(self) -> None:
        """Fork and report until the agent hangs up."""
        while True:
            ready, _, _ = select.select([self.sock.fileno(), self.wake_read], [], [])
            if self.wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake_read, 4096)
                self.reap()
            if self.sock.fileno() in ready and not self.request():
                return self.end()

    def request(self) -> bool:
        """Do what the agent asks; False when it is gone."""
        try:
            data, fds, _, _ = socket.recv_fds(self.sock, REQUEST.size, 3)
        except ConnectionResetError:  # the agent hung up before it had read all reports
            return False
        if len(data) < REQUEST.size:
            return False
        what, number, size = REQUEST.unpack(data)
        body = self.read(size)
        if what == CLEANUP:
            self.cleanup()
            return False
        child = self.slot_child if what == FORK_SLOT else self.prepared_child
        self.fork(number, child, fds, body)
        return True

    def read(self, size: int) -> bytes:
        """Read a request's body."""
        parts = bytearray()
        while len(parts) < size:
            part = self.sock.recv(min(size - len(parts), 1 << 20))
            if not part:
                break
            parts += part
        return bytes(parts)

    def fork(self, number: int, child: Any, fds: list[int], body: bytes) -> None:
        """Start a process that runs ``child`` and never returns from it."""
        try:
            pid = os.fork()
        except OSError as error:  # no more processes or memory: only this one could not be born
            for fd in fds:
                os.close(fd)
            return self.report(ENDED, number, 0, error.errno or errno.EAGAIN, 0)
        if pid == 0:
            code = 1
            try:
                self.become_child()
                child(fds, body)
                code = 0
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
            finally:
                os._exit(code)
        for fd in fds:
            os.close(fd)
        self.children[pid] = number
        return self.report(STARTED, number, pid, 0, 0)

    def become_child(self) -> None:
        """Leave the fork server behind: own process group, own random numbers, none of its descriptors."""
        os.setsid()
        be_first_to_die()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.sock.close()
        os.close(self.wake_read)
        os.close(self.wake_write)
        self.children.clear()
        job_process.reseed()

    def slot_child(self, fds: list[int], _body: bytes) -> None:
        """Be a slot."""
        from octapi.pool import slot

        os.dup2(fds[2], 2)
        os.dup2(fds[2], 1)
        os.close(fds[2])
        faulthandler.enable(file=2, all_threads=False)
        slot.main(socket.socket(fileno=fds[0]), fds[1], self.namespace, self.adopted)

    def prepared_child(self, fds: list[int], body: bytes) -> None:
        """Be the prepared fork server of one computation."""
        os.dup2(fds[1], 2)
        os.dup2(fds[1], 1)
        os.close(fds[1])
        prepared_server = PreparedForkServer(socket.socket(fileno=fds[0]), self.namespace)
        prepared_server.prepare(*msgpack.unpackb(body))
        prepared_server.serve()

    def reap(self) -> None:
        """Report every child that has ended."""
        while self.children:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self.children.pop(pid, None)
            if number is not None:
                self.report(ENDED, number, pid, status, usage.ru_maxrss * 1024)
                self.sweep()

    def sweep(self) -> None:
        """End what the jobs of a slot that was killed had started, and moved out of its process group."""
        with contextlib.suppress(OSError):
            parents = descendants.parents()
            for pid in (pid for pid, parent in parents.items() if parent == os.getpid() and pid not in self.children):
                for left in (pid, *descendants.below(pid, parents)):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(left, signal.SIGKILL)

    def report(self, what: int, number: int, pid: int, status: int, size: int, text: bytes = b"") -> None:
        """Tell the agent; one that is gone is noticed by the next read."""
        with contextlib.suppress(OSError):
            self.sock.sendall(REPORT.pack(what, number, pid, status, size) + text)

    def cleanup(self) -> None:
        """Prepare for the end; a plain fork server has nothing to clean."""

    def end(self) -> None:
        """Kill the children with everything they started."""
        for pid in list(self.children):
            for kill in (os.killpg, os.kill):  # one that was just forked has no group of its own yet
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(pid, signal.SIGKILL)
        for pid in list(self.children):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


class PreparedForkServer(ForkServer):
    """The fork server of one computation, after its setup."""

    computation: Computation
    build: dict[str, Any]
    args: tuple[Any, ...] = ()

    def prepare(self, digest: str, spec: bytes, setup_args: bytes) -> None:
        """Load the computation, run its setup, and report how that went."""
        try:
            self.computation = Computation.from_bytes(spec)
            home = job_directory.prepare(self.computation, digest)
            given = self.namespace.of_directory(home)
            job_directory.enter(self.computation, home, given)
            given |= self.namespace.of_worker()
            self.build = self.executed(loader.base_names(self.computation, self.namespace, given))
            self.args = pickle.loads(setup_args) if setup_args else ()
            self.run_setup()
            gc.freeze()
        except BaseException:
            text = traceback.format_exc().encode("utf-8", "replace")[-LONGEST:]
            self.report(REFUSED, 0, os.getpid(), 0, len(text), text)
            return
        self.adopted = (digest, self.computation, self.build, home)
        self.report(READY, 0, os.getpid(), 0, 0)

    def executed(self, names: dict[str, Any]) -> dict[str, Any]:
        """Execute the source text once, in the module that jobs know as ``__main__``."""
        import types

        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        module.__dict__.update(names)
        execute(compiled(self.computation.code.decode()), module.__dict__)
        return module.__dict__

    def run_setup(self) -> None:
        """Call setup, and read its return code: 0, 1 and 2 are success."""
        if not self.computation.setup:
            return
        before = set(self.build)
        answer = self.build[self.computation.setup](*self.args)
        if answer not in (0, 1, 2):
            raise ValueError(
                f"setup function {self.computation.setup!r} returned {answer!r}; it must return 0, 1 or 2 for success"
            )
        if answer == 1:
            for name in set(self.build) - before:
                pickle.dumps(self.build[name])

    def cleanup(self) -> None:
        """Call the computation's cleanup; what it raises is only printed."""
        if self.adopted is None or not self.computation.cleanup:
            return
        try:
            self.build[self.computation.cleanup](*self.args)
        except BaseException:
            traceback.print_exc()


def main(fd: int, namespace: list[str]) -> None:
    """Be the fork server, with a socket to the agent and a namespace for jobs; see :data:`START`."""
    import octapi.pool.slot

    del octapi
    sock = socket.socket(fileno=fd)
    if sys.version_info >= (3, 14):  # its new default starts processes that do not know the functions of the script
        import multiprocessing

        multiprocessing.set_start_method("fork")
    gc.collect()
    gc.freeze()
    ForkServer(sock, load(namespace)).serve()
    shutil.rmtree(internal(Internal.SLOT_HOME), ignore_errors=True)
