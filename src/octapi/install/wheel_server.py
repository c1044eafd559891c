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
from typing import TYPE_CHECKING, Final

from octapi import _version
from octapi.install import wheel_index
from octapi.protocol.small_http import Answer, read_request, send
from octapi.trust.connection_limit import ConnectionLimit

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("octapi.install")

#: connections at once, and of these from one address
MOST: Final = 16
MOST_OF_ONE: Final = 4
#: how long a request may take to come, and it and its answer together, in seconds
REQUEST_S: Final = 10.0
WHOLE_S: Final = 900.0
#: bytes that one address, or everybody together, may take within the window
BYTES_OF_ONE: Final = 256 << 20
BYTES_OF_ALL: Final = 4 << 30
WINDOW_S: Final = 600.0
PATH: Final = re.compile(r"/[A-Za-z0-9._+!/-]{0,200}")
BYTES: Final = "application/octet-stream"


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


def installer() -> bytes:
    """Return the file that devices run first."""
    return Path(__file__).with_name("bootstrap.py").read_bytes()


class WheelServer:
    """Answers at the door; ``place`` is the shelf."""

    def __init__(self, place: Path, allowance: Allowance | None = None) -> None:
        self.place = place
        self.allowance = allowance or Allowance()
        self.limit = ConnectionLimit(MOST, MOST_OF_ONE)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, authority: str
    ) -> None:
        """Answer one request.  Raises OSError and TimeoutError when the device goes away or is too slow."""
        with self.limit.entered(address) as has_room:
            async with asyncio.timeout(WHOLE_S if has_room else REQUEST_S):
                answer = await self._read(reader, address, authority) if has_room else self.busy()
                await send(writer, answer)

    def busy(self) -> Answer:
        """Say that there is too much to do."""
        return Answer(b"The master is giving wheels to as many devices as it can.\n", status=503)

    async def _read(self, reader: asyncio.StreamReader, address: str, authority: str) -> Answer:
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await read_request(reader)
        except asyncio.LimitOverrunError:
            request = None
        if request is None or request.method != "GET" or not PATH.fullmatch(request.target):
            return Answer(b"This port gives OctaPi's wheels, by GET only.\n", status=400)
        path = request.target
        answer = self.find(path, authority)
        if not self.allowance.take(address, answer.length()):
            log.warning(f"wheels: {address} takes too much; refused for some minutes.")
            return Answer(b"This address has taken very much. Wait ten minutes.\n", status=503)
        if path == "/wheels.json":
            log.info(f"wheels: {address} asks for the list, to install OctaPi.")
        return answer

    def find(self, path: str, authority: str) -> Answer:
        """Return what lies at a path; only what the list names is ever opened."""
        if path == "/bootstrap.py":
            return Answer(installer(), BYTES)
        if path == "/authority.pem":
            return Answer(authority.encode(), BYTES)
        wheels = {wheel.name: wheel for wheel in wheel_index.read(self.place)}
        if path == "/wheels.json" and wheels:
            return Answer(json.dumps(wheel_index.public(wheels.values(), _version.__version__)).encode(), BYTES)
        wheel = wheels.get(path.removeprefix("/wheels/"))
        if wheel is None:
            return Answer(
                b"There is no such wheel here. On the master, 'octapi wheels list' shows what there is.\n", status=404
            )
        return Answer(kind=BYTES, file=self.place / wheel.name, size=wheel.size)
