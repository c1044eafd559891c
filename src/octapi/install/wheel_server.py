"""The counter: gives the wheels on the shelf to devices that come to the door and speak HTTP.

Whoever comes may take: the wheels are public code, and a device that is to join has nothing to show yet.  What a device
gets it checks against its token.  Here the cost is bounded: connections, their time, and bytes.

    GET /bootstrap.py     the file whose SHA-256 the line of ``octapi token create --install`` holds
    GET /authority.pem    the certificate of the authority that was asked for
    GET /wheels.json      names, sizes and hashes
    GET /wheels/NAME      one wheel of that list
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from octapi import _version
from octapi.install import wheel_index

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("octapi.install")

ALPN: Final = "http/1.1"
#: connections at once, and of these from one address
MOST: Final = 16
MOST_OF_ONE: Final = 4
#: how long a request may take to come, a piece of an answer to be taken, and everything together, in seconds
REQUEST_S: Final = 10.0
PIECE_S: Final = 15.0
WHOLE_S: Final = 900.0
#: the longest request, and the pieces of answers, in bytes
REQUEST_LIMIT: Final = 8192
PIECE: Final = 1 << 16
#: bytes that one address, or everybody together, may take within the window
BYTES_OF_ONE: Final = 256 << 20
BYTES_OF_ALL: Final = 4 << 30
WINDOW_S: Final = 600.0
REQUEST: Final = re.compile(rb"GET (/[A-Za-z0-9._+!/-]{0,200}) HTTP/1\.[01]\r\n")
STATUS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}


class Allowance:
    """Counts bytes for each address and for all together."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._begun = now()
        self._taken: dict[str, int] = {}

    def take(self, address: str, size: int) -> bool:
        """Note ``size`` bytes for an address, if it may have them."""
        if self._now() - self._begun > WINDOW_S:
            self._begun, self._taken = self._now(), {}
        own, everybody = self._taken.get(address, 0) + size, self._taken.get("", 0) + size
        if own > BYTES_OF_ONE or everybody > BYTES_OF_ALL:
            return False
        self._taken[address], self._taken[""] = own, everybody
        return True


class Answer(NamedTuple):
    """What is sent: a status, and a text or a file of ``size`` bytes."""

    status: int
    data: bytes = b""
    file: Path | None = None
    size: int = 0

    def length(self) -> int:
        """Return how many bytes follow the head."""
        return self.size if self.file is not None else len(self.data)

    def head(self) -> bytes:
        """Return the status line and headers."""
        return (
            f"HTTP/1.1 {self.status} {STATUS[self.status]}\r\nContent-Length: {self.length()}\r\n"
            "Content-Type: application/octet-stream\r\nConnection: close\r\n\r\n"
        ).encode()


def installer() -> bytes:
    """Return the file that devices run first."""
    return Path(__file__).with_name("bootstrap.py").read_bytes()


class WheelServer:
    """Answers at the door; ``place`` is the shelf."""

    def __init__(self, place: Path, allowance: Allowance | None = None) -> None:
        self.place = place
        self.allowance = allowance or Allowance()
        self._here: dict[str, int] = {}

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, authority: str
    ) -> None:
        """Answer one request.  Raises OSError and TimeoutError when the device goes away or is too slow."""
        here = self._here.get(address, 0)
        is_full = here >= MOST_OF_ONE or sum(self._here.values()) >= MOST
        self._here[address] = here + 1
        try:
            async with asyncio.timeout(REQUEST_S if is_full else WHOLE_S):
                answer = self.busy() if is_full else await self._read(reader, address, authority)
                await self._send(writer, answer)
        finally:
            self._here[address] -= 1
            if not self._here[address]:
                del self._here[address]

    def busy(self) -> Answer:
        """Say that there is too much to do."""
        return Answer(503, b"The master is giving wheels to as many devices as it can.\n")

    async def _read(self, reader: asyncio.StreamReader, address: str, authority: str) -> Answer:
        try:
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            head = b""
        found = REQUEST.match(head) if len(head) <= REQUEST_LIMIT else None
        if found is None:
            return Answer(400, b"This port gives OctaPi's wheels, by GET only.\n")
        path = found.group(1).decode()
        answer = self.find(path, authority)
        if not self.allowance.take(address, answer.length()):
            log.warning(f"wheels: {address} takes too much; refused for some minutes.")
            return Answer(503, b"This address has taken very much. Wait ten minutes.\n")
        if path == "/wheels.json":
            log.info(f"wheels: {address} asks for the list, to install OctaPi.")
        return answer

    def find(self, path: str, authority: str) -> Answer:
        """Return what lies at a path; only what the list names is ever opened."""
        if path == "/bootstrap.py":
            return Answer(200, installer())
        if path == "/authority.pem":
            return Answer(200, authority.encode())
        wheels = {wheel.name: wheel for wheel in wheel_index.read(self.place)}
        if path == "/wheels.json" and wheels:
            return Answer(200, json.dumps(wheel_index.public(wheels.values(), _version.__version__)).encode())
        wheel = wheels.get(path.removeprefix("/wheels/"))
        if wheel is None:
            return Answer(
                404, b"There is no such wheel here. On the master, 'octapi wheels list' shows what there is.\n"
            )
        return Answer(200, b"", self.place / wheel.name, wheel.size)

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        writer.write(answer.head() + answer.data)
        if answer.file is not None:
            with answer.file.open("rb") as file:
                while piece := file.read(PIECE):
                    writer.write(piece)
                    async with asyncio.timeout(PIECE_S):
                        await writer.drain()
        async with asyncio.timeout(PIECE_S):
            await writer.drain()
