"""As much of HTTP/1 as wheels, metrics and their clients need: one GET a connection, and an answer that ends it.

The page speaks all of it, through uvicorn; workers and devices that install OctaPi have nothing of that.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: the longest head of a request or answer, in bytes
HEAD_LIMIT: Final = 8192
#: how much is sent or read at once, in bytes
PIECE: Final = 1 << 16
#: how long a piece of an answer may take to be taken, in seconds
PIECE_S: Final = 15.0
END_OF_HEAD: Final = b"\r\n\r\n"


class Request(NamedTuple):
    """The head of a request; names of headers are in small letters."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        """The target without what follows a question mark."""
        return self.target.partition("?")[0]


class Answer(NamedTuple):
    """What is sent back: a body, or a file of ``size`` bytes."""

    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    status: int = 200
    file: Path | None = None
    size: int = 0

    def length(self) -> int:
        """Return how many bytes follow the head."""
        return self.size if self.file is not None else len(self.body)

    def head(self) -> bytes:
        """Return the status line and the headers; the connection ends with the answer."""
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Type: {self.kind}",
            f"Content-Length: {self.length()}",
            "Cache-Control: no-store",
            "Connection: close",
        ]
        if self.status == HTTPStatus.UNAUTHORIZED:
            lines.append("WWW-Authenticate: Bearer")
        return "\r\n".join(lines).encode("latin-1") + END_OF_HEAD


class Reply(NamedTuple):
    """What a server answered; names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def parse(head: bytes) -> Request | None:
    """Read the head of a request; None if it is none."""
    first, headers = divided(head)
    words = first.split(" ")
    if len(head) > HEAD_LIMIT or len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        return None
    return Request(words[0], words[1], headers)


def divided(head: bytes) -> tuple[str, dict[str, str]]:
    """Return the first line of a head, and its headers; of those that come twice, the first."""
    first, *lines = head.decode("latin-1").split("\r\n")
    rows = [line.partition(":") for line in lines]
    return first, {name.strip().lower(): value.strip() for name, _, value in reversed(rows)}


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read one request; None for what is none.

    Raises OSError and EOFError when the other side goes away, and asyncio.LimitOverrunError when a head does not end.
    """
    return parse(await reader.readuntil(END_OF_HEAD))


async def send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Send an answer.  Raises OSError, and TimeoutError when the other side does not take it."""
    writer.write(answer.head() + answer.body)
    if answer.file is not None:
        with answer.file.open("rb") as file:
            while piece := file.read(PIECE):
                writer.write(piece)
                async with asyncio.timeout(PIECE_S):
                    await writer.drain()
    async with asyncio.timeout(PIECE_S):
        await writer.drain()


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, host: str, limit: int) -> Reply:
    """Ask a server for something over an open connection, and close it.  HTTP/1.0, so that the answer ends with it.

    Raises OSError and EOFError, and ValueError when the answer is none, or has more than ``limit`` bytes.
    """
    try:
        writer.write(f"GET {target} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode("latin-1"))
        try:
            head = await reader.readuntil(END_OF_HEAD)
        except asyncio.LimitOverrunError as error:
            raise ValueError("its head does not end") from error
        first, headers = divided(head)
        words = first.split(" ")
        if not words[0].startswith("HTTP/1.") or not words[1:] or not words[1].isdigit():
            raise ValueError(f"it says {head[:60]!r}")
        body = bytearray()
        while piece := await reader.read(PIECE):
            body += piece
            if len(body) > limit:
                raise ValueError(f"it says more than {limit:,} bytes")
        return Reply(int(words[1]), headers, bytes(body))
    finally:
        writer.close()
