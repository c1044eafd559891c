"""A real cluster on this computer's loopback, for demonstrations, tests and benchmarks."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from typing import IO, TYPE_CHECKING

from octapi.errors import ClusterError

if TYPE_CHECKING:
    from types import TracebackType

STOP_S = 10.0


class EmbeddedCluster:
    """A master and ``workers`` workers with ``slots`` slots each, as processes of their own.

    ``address`` is what clients connect to, ``dask_address`` where workers and Dask clients do.
    """

    def __init__(self, workers: int = 2, slots: int = 1) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        try:
            self._start(workers, slots)
        except BaseException:
            self.close()
            raise

    def _start(self, workers: int, slots: int) -> None:
        line = self._launch("master", "--insecure", "--port", "0", "--dask-port", "0")
        found = re.search(r"clients at (\S+), workers at (\S+)", line)
        if found is None:
            raise ClusterError(
                f"The master did not start; it said: {line!r}. Run 'octapi master --insecure' to see why."
            )
        self.address, self.dask_address = found.groups()
        for number in range(workers):
            self.add_worker(f"worker-{number + 1}", slots)

    def add_worker(self, name: str, slots: int = 1) -> subprocess.Popen[str]:
        """Start one more worker, and return its process once it has joined."""
        self._launch("worker", self.dask_address, "--insecure", "--slots", str(slots), "--name", name)
        return self.processes[-1]

    def _launch(self, *arguments: str) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "octapi.cli.app", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.processes.append(process)
        out: IO[str] | None = process.stdout
        line = out.readline() if out is not None else ""
        if not line and process.stderr is not None:
            raise ClusterError(f"octapi {arguments[0]} did not start: {process.stderr.read().strip()}")
        return line

    def close(self) -> None:
        """Stop every process of the cluster, workers first."""
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        self.processes.clear()

    def __enter__(self) -> EmbeddedCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
