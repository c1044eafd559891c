"""Three places with slots, and the links to them: this computer alone, a master's cluster, somebody's Dask cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import octapi
from octapi.client.connect import way_to
from octapi.client.dask_link import DaskLink
from octapi.client.dask_target import target_of
from octapi.client.local import LocalLink
from octapi.client.remote import RemoteLink
from octapi.device import children
from octapi.settings import Settings
from octapi.testing import EmbeddedCluster
from tests.harness import until

if TYPE_CHECKING:
    from octapi.client.link import Link

SLOTS = 2
STOP_S = 10.0


class LocalSite:
    """This computer's own cores; nobody joins, nobody leaves."""

    kind = "local"

    def link(self) -> Link:
        """Return a link that has not started."""
        return LocalLink(SLOTS)

    def cluster(self) -> octapi.Cluster:
        """Return the cluster as a script opens it."""
        return octapi.Cluster("local", slots=SLOTS)

    def close(self) -> None:
        """Nothing was started."""


class MasterSite:
    """A master with workers of its own."""

    kind = "master"

    def __init__(self) -> None:
        self.embedded = EmbeddedCluster(workers=1, slots=SLOTS)

    def link(self) -> Link:
        settings = Settings.load()
        return RemoteLink(way_to(self.embedded.address, settings), settings)

    def cluster(self) -> octapi.Cluster:
        return octapi.Cluster(self.embedded.address)

    def add(self, name: str) -> subprocess.Popen[str]:
        """Start a worker with one slot."""
        return self.embedded.add_worker(name)

    def close(self) -> None:
        self.embedded.close()


class DaskProcesses:
    """A scheduler and workers of Dask, started by their own commands."""

    def __init__(self, workers: int = 1, env: dict[str, str] | None = None) -> None:
        self.home = tempfile.TemporaryDirectory(prefix="octapi-dask-")
        self.env = os.environ | (env or {})
        self.processes: list[subprocess.Popen[str]] = []
        self.scheduler = self.launch("dask_scheduler", "--scheduler-file", f"{self.home.name}/at.json", "--port", "0")
        self.address = until(self.placed)
        for number in range(workers):
            self.worker(f"worker-{number + 1}", SLOTS)

    def placed(self) -> str:
        """Return where the scheduler is, once it is there."""
        path = Path(self.home.name) / "at.json"
        try:
            return str(json.loads(path.read_text())["address"])
        except (OSError, ValueError):
            return ""

    def launch(self, command: str, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start one of Dask's commands."""
        words = [sys.executable, "-m", f"distributed.cli.{command}", *arguments, "--host", "127.0.0.1"]
        process = subprocess.Popen(
            [*words, "--no-dashboard"], env=self.env | (env or {}), cwd=self.home.name, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def worker(self, name: str, slots: int = 1, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a worker without a nanny; it is there when Dask's scheduler says so."""
        flags = ("--no-nanny", "--name", name, "--nthreads", str(slots), "--memory-limit", "0", *arguments)
        return self.launch("dask_worker", self.address, *flags, **options)

    def close(self) -> None:
        """Stop everything, workers first."""
        for process in reversed(self.processes):
            children.stop(process, STOP_S)
        self.home.cleanup()


class DaskSite:
    """A Dask cluster that OctaPi did not start."""

    kind = "dask"

    def __init__(self) -> None:
        self.dask = DaskProcesses()
        self.until_there({"worker-1"})

    def until_there(self, names: set[str]) -> None:
        """Wait until Dask's scheduler knows these workers."""
        from distributed import Client

        with Client(self.dask.address, set_as_default=False) as client:
            until(lambda: {row["name"] for row in client.scheduler_info(n_workers=-1)["workers"].values()} >= names)

    def link(self) -> Link:
        return DaskLink(target_of(self.dask.address), Settings.load())

    def cluster(self) -> octapi.Cluster:
        return octapi.Cluster(dask=self.dask.address)

    def add(self, name: str) -> subprocess.Popen[str]:
        process = self.dask.worker(name)
        self.until_there({name})
        return process

    def close(self) -> None:
        self.dask.close()


Site = LocalSite | MasterSite | DaskSite
#: those whose workers come and go
RemoteSite = MasterSite | DaskSite


def kill(process: subprocess.Popen[str]) -> None:
    """End a worker without a word."""
    process.kill()
    process.wait()
