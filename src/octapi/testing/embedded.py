"""A real cluster on this computer's loopback, for demonstrations, tests and benchmarks.

Its authority lives in this process and lets in the processes that it starts, nobody else: other logins of the same
computer have no key.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from octapi.device import children, files
from octapi.errors import ClusterError
from octapi.protocol import stdio_json
from octapi.text.stderr import say
from octapi.trust.authority import local_cluster
from octapi.trust.contexts import Trust
from octapi.trust.names import CLIENT, MASTER, WORKER
from octapi.worker.dask_process import DaskProcess

if TYPE_CHECKING:
    from types import TracebackType

    from octapi.trust.identity import Identity

STOP_S = 10.0
HOST = "127.0.0.1"


class EmbeddedCluster:
    """A master and ``workers`` workers with ``slots`` slots each, as processes of their own.

    ``address`` is the path of an identity that lets its bearer in as a client, in a directory for this user alone: it
    can be given to :class:`octapi.Cluster`, or to scripts as ``OCTAPI_ADDRESS``.  ``place`` is the gateway's
    ``host:port``, ``dask_address`` where workers and Dask clients connect.
    """

    def __init__(self, workers: int = 2, slots: int = 1) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []
        self.tasks: list[DaskProcess] = []
        self.authority = local_cluster()
        self._home = Path(tempfile.mkdtemp(prefix="octapi-cluster-"))
        try:
            self._start(workers, slots)
        except BaseException:
            self.close()
            raise

    def _start(self, workers: int, slots: int) -> None:
        start: dict[str, Any] = {"host": HOST, "port": 0, "dask_port": 0, "time": self.authority.now(), "roster": []}
        start |= {"state": str(self._home / "state"), "identity": self.identity(MASTER, "master").to_json()}
        ready = self._launch("octapi.master.gateway.server", self.news(start))
        self.ports = {"clients": ready["port"], "dask": ready["dask_port"]}
        self.place = f"{HOST}:{ready['port']}"
        self.dask_address = f"octapi://{HOST}:{ready['dask_port']}"
        self.address = str(self._home / "client.json")
        files.write(Path(self.address), self.identity(CLIENT, "script").to_json())
        for number in range(workers):
            self.add_worker(f"worker-{number + 1}", slots)

    def news(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return what the master must know of its authority, beside ``facts``."""
        return facts | {"removed": self.authority.removed(), "authorities": self.authority.authorities()}

    def identity(self, role: str, name: str) -> Identity:
        """Make an identity for one process."""
        found = self.authority.identity(role, name)
        return found.with_answer({"addresses": [HOST], "master": getattr(self, "ports", {})})

    def trust(self) -> Trust:
        """Return what a client in this process needs to connect."""
        return Trust(self.identity(CLIENT, "script"))

    def add_worker(self, name: str, slots: int = 1, **options: object) -> subprocess.Popen[str]:
        """Start one more worker, and return its process once it has joined."""
        self._launch("octapi.worker.connection", self.start_of(name, slots) | options)
        return self.processes[-1]

    def add_tasks(self, name: str, slots: int = 1) -> DaskProcess:
        """Start a process with one thread for Dask's tasks only; ``slots`` of them share this computer's cores."""
        start = self.start_of(name)
        facts = {key: start[key] for key in ("identity", "master", "name", "host")}
        facts |= {"nthreads": 1, "port": 0, "contact": None}

        def told() -> dict[str, Any]:
            return facts | {"time": self.authority.now(), "path": sys.path}

        tasks = DaskProcess(told, slots, say_here, output=None)
        self.tasks.append(tasks)
        return tasks

    def start_of(self, name: str, slots: int = 1) -> dict[str, Any]:
        """Return what a worker's process is told when it starts."""
        return {
            "identity": self.identity(WORKER, name).to_json(),
            "master": f"{HOST}:{self.ports['dask']}",
            "name": name,
            "slots": slots,
            "host": HOST,
            "time": self.authority.now(),
        }

    def _launch(self, module: str, start: dict[str, Any]) -> dict[str, Any]:
        words = tempfile.TemporaryFile("w+", dir=self._home)  # noqa: SIM115 - a pipe that nobody reads would fill up
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdout=subprocess.PIPE,
            stderr=words,
            stdin=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        ours, out = process.stdin, process.stdout
        assert ours is not None
        assert out is not None
        with contextlib.suppress(BrokenPipeError):
            ours.write(stdio_json.to_line(start | {"path": sys.path}))
            ours.flush()
        with words:
            ready = self._answer(module, out, words)
        reader = threading.Thread(target=read_out, args=(out,), name="octapi-embedded", daemon=True)
        self._readers.append(reader)
        reader.start()
        return ready

    def _answer(self, module: str, out: IO[str], words: IO[str]) -> dict[str, Any]:
        while line := out.readline():
            found: dict[str, Any] = json.loads(line)
            if found["kind"] == "ready":
                return found
        words.seek(0)
        raise ClusterError(f"{module} did not start: {words.read().strip()}")

    def close(self) -> None:
        """Stop every process of the cluster, workers first."""
        ends = [threading.Thread(target=tasks.close) for tasks in self.tasks]
        for end in ends:
            end.start()
        for end in ends:
            end.join()
        self.tasks.clear()
        for process in reversed(self.processes):
            children.stop(process, STOP_S)
        for reader in self._readers:
            reader.join(STOP_S)
        is_read = not any(reader.is_alive() for reader in self._readers)
        for process in self.processes:
            for stream in (process.stdin, process.stdout if is_read else None):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        self.processes.clear()
        self._readers.clear()
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> EmbeddedCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_out(out: IO[str]) -> None:
    """Read what a process goes on telling, which nobody needs here: once the pipe were full, it would wait for ever."""
    with contextlib.suppress(OSError, ValueError):
        for _ in out:
            pass


def say_here(text: str) -> None:
    """Write one line to the person whose script this is."""
    say(f"octapi: {text}")
