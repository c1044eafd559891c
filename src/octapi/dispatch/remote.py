"""The link to a master: one connection, on which batches go out and messages of agents come back."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import platform
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi import _version
from octapi.dispatch import wire
from octapi.dispatch.link import REMOTE
from octapi.dispatch.ticket import WorkerInfo
from octapi.dispatch.way import CONNECT_S, refused
from octapi.errors import MasterLost, MasterNotFound

if TYPE_CHECKING:
    from octapi.dispatch.link import Receiver
    from octapi.dispatch.way import Way
    from octapi.settings import Settings


class RemoteLink:
    """The way to a master's slots."""

    def __init__(self, way: Way, settings: Settings, recoverable: bool = False) -> None:
        self.way = way
        self.kind = REMOTE
        self.token = secrets.token_hex(16) if recoverable else ""
        self.recovery = {"address": way.source, "token": self.token}
        self.settings = settings
        self.workers: dict[str, WorkerInfo] = {}
        self.receiver: Receiver | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.reading: asyncio.Task[None] | None = None
        self.dask_address = ""
        self.closing = False

    async def start(self, receiver: Receiver) -> None:
        """Connect, and wait for the master's greeting."""
        self.receiver = receiver
        reader = await self._connect()
        assert self.writer is not None
        self.writer.write(wire.pack(("hello", dict(hello(), token=self.token))))
        try:
            kind, facts = await asyncio.wait_for(wire.read_frame(reader), max(self.settings.patience_s, CONNECT_S))
        except (asyncio.IncompleteReadError, TimeoutError) as error:
            raise MasterNotFound(
                f"Something answered at {self.way.label}, but not as an OctaPi master does."
            ) from error
        if kind == "refused":
            raise refused(facts, self.way.label)
        self.way.confirm(facts["time"])
        scheme = "tcp" if self.way.trust is None else "octapi"
        self.dask_address = f"{scheme}://{self.way.host}:{facts['dask_port']}"
        self._take_workers(facts["workers"])
        self.reading = asyncio.get_running_loop().create_task(self._read(reader))

    async def _connect(self) -> asyncio.StreamReader:
        deadline = asyncio.get_running_loop().time() + self.settings.patience_s
        while True:
            try:
                reader, self.writer = await self.way.open(self.settings.patience_s)
                return reader
            except OSError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise MasterNotFound(
                        f"No master answers at {self.way.label} ({error}). Start one there with 'octapi master', "
                        "or check the address and the firewall."
                    ) from error
                say(f"octapi: waiting for the master at {self.way.label} ({error.strerror or error})")
                await asyncio.sleep(1)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        assert self.receiver is not None
        try:
            while True:
                message = await wire.read_frame(reader)
                if message[0] == "workers":
                    self._take_workers(message[1])
                elif message[0] == "stop":
                    self.receiver.stop_jobs()
                elif message[0] == "refused":
                    return self._lost(refused(message[1], self.way.label))
                else:
                    self.receiver.message(message[1], message[2])
        except (asyncio.IncompleteReadError, OSError):
            self._lost(MasterLost(f"The connection to the master at {self.way.label} broke."))

    def _lost(self, error: Exception) -> None:
        assert self.receiver is not None
        if not self.closing:
            self.receiver.link_lost(error)

    def _take_workers(self, rows: list[dict[str, Any]]) -> None:
        assert self.receiver is not None
        self.workers = {row["name"]: WorkerInfo(**row) for row in rows}
        self.receiver.workers_changed(dict(self.workers))

    def _send(self, *message: Any) -> None:
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(wire.pack(message))

    def define(self, digest: str, spec: bytes, facts: dict[str, Any]) -> None:
        """Send a computation to the master, which keeps it for workers that join later."""
        self._send("define", digest, spec, facts)

    def run(self, ident: int, run: int, digest: str, facts: dict[str, Any]) -> None:
        """Send a batch."""
        self._send("run", ident, run, digest, facts)

    def tell(self, worker: str | None, message: tuple[Any, ...]) -> None:
        """Send a message on to an agent."""
        self._send("tell", worker, message)

    def report(self, summary: dict[str, Any]) -> None:
        """Tell the master how far this client is."""
        self._send("summary", summary)

    async def close(self) -> None:
        """Say goodbye."""
        self.closing = True
        if self.reading is not None:
            self.reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.reading
        if self.writer is not None:
            self._send("bye")
            self.writer.close()
            with contextlib.suppress(OSError):
                await self.writer.wait_closed()


def hello() -> dict[str, Any]:
    """Say who this client is."""
    return {
        "protocol": wire.PROTOCOL,
        "oldest": wire.OLDEST_PROTOCOL,
        "release": _version.__version__,
        "python": platform.python_version(),
        "script": Path(sys.argv[0]).name,
        "host": socket.gethostname(),
        "user": user(),
        "pid": os.getpid(),
    }


def user() -> str:
    """Return the name of the user, if there is one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def say(text: str) -> None:
    """Print a line for the person who waits."""
    print(text, file=sys.stderr, flush=True)
