"""A connection of frames: what comes is written straight into the memory where it stays.

asyncio's own streams copy each byte four times before a long message can be used.  Here the head of a message comes
through a small buffer; the rest of a long one is received, or decrypted, where it is read later.
"""

from __future__ import annotations

import asyncio
import mmap
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from octapi.errors import ClusterError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from octapi.protocol.wire import Buffer

#: how much may come before somebody reads it, and what is longer than this has memory of its own, in bytes
SCRATCH: Final = 64 << 10
#: what is longer than this has pages of its own, which go back to the system when nobody reads them any more
PAGES: Final = 1 << 20
#: how much is given to the transport at once, in bytes
PIECE: Final = 256 << 10
#: how long what was said last may take to go out, in seconds
CLOSE_S: Final = 10.0


class FrameStream(asyncio.BufferedProtocol):
    """Both sides of a connection; ``on_open`` is called with it once it stands."""

    def __init__(self, on_open: Callable[[FrameStream], None] | None = None) -> None:
        self._on_open = on_open
        self._scratch = bytearray(SCRATCH)
        self._view = memoryview(self._scratch)
        #: what has come and was not read: a part of the scratch buffer
        self._start = self._end = 0
        #: where the rest of something long goes, and how much of it is there
        self._long: memoryview | None = None
        self._filled = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False
        self._has_ended = False
        self._error: Exception | None = None
        #: what waits to go out behind what the transport has, and how much that is
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self._is_full = self._is_ending = False
        self._drained = asyncio.Event()
        self._drained.set()
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    # ---- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self.transport = transport
        if self._on_open is not None:
            self._on_open(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let who waits know that nothing more will come, and that nothing more will go out."""
        self._has_ended, self._error = True, self._error or exc
        self._queue.clear()
        self._queued = 0
        self._drained.set()
        self._wake()
        if not self._closed.done():
            self._closed.set_result(None)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where what comes next is to be written."""
        if self._long is not None and self._filled < len(self._long):
            return self._long[self._filled :]
        if self._end == SCRATCH:
            self._to_the_front()
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of what came."""
        if self._long is not None and self._filled < len(self._long):
            self._filled += nbytes
        else:
            self._end += nbytes
            if self._end - self._start == SCRATCH:  # nobody reads: whoever sends is to wait
                self._is_paused = True
                self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Take note that the other side says no more."""
        self._has_ended = True
        self._wake()
        return False

    def pause_writing(self) -> None:
        """Much waits to go out."""
        self._is_full = True
        self._drained.clear()

    def resume_writing(self) -> None:
        """Little waits to go out."""
        self._is_full = False
        self._send()

    # ---- reading

    async def readexactly(self, size: int) -> bytes:
        """Return so few bytes, half of :data:`SCRATCH` at most.

        Raises :exc:`asyncio.IncompleteReadError` when the other side is gone, and what has broken the connection.
        """
        while self._end - self._start < size:
            if self._start + size > SCRATCH:
                self._to_the_front()
            await self._more(size)
        found = bytes(self._view[self._start : self._start + size])
        self._took(size)
        return found

    async def read_in_place(self, size: int, progress: Callable[[], None] | None = None) -> Buffer:
        """Return so many bytes; ``progress`` is called as parts of a long piece come.

        What is long is memory of its own that may be written to.  Raises what :meth:`readexactly` raises, and
        :exc:`ClusterError` when there is no memory for it.
        """
        if size <= SCRATCH // 2:
            return await self.readexactly(size)
        whole = pages(size) if size > PAGES else memoryview(bytearray(size))
        here = min(size, self._end - self._start)
        whole[:here] = self._view[self._start : self._start + here]
        self._long, self._filled = whole, here
        self._took(here)
        try:
            while self._filled < size:
                await self._more(size)
                if progress is not None:
                    progress()
        finally:
            self._long = None
        return whole

    def _took(self, size: int) -> None:
        self._start += size
        if self._start == self._end:
            self._start = self._end = 0
        if self._is_paused and self._end - self._start < SCRATCH:
            self._is_paused = False
            self.transport.resume_reading()

    def _to_the_front(self) -> None:
        left = self._end - self._start
        self._scratch[:left] = self._scratch[self._start : self._end]
        self._start, self._end = 0, left

    async def _more(self, wanted: int) -> None:
        """Wait until more has come."""
        if self._has_ended:
            if self._error is not None:
                raise self._error
            raise asyncio.IncompleteReadError(bytes(self._view[self._start : self._end]), wanted)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ---- writing, as asyncio's StreamWriter has it

    def write(self, data: Buffer) -> None:
        """Send bytes; never blocks.  They must not change any more."""
        if len(data) <= PIECE and not self._queue and not self._is_full:
            self.transport.write(data)
        else:
            self._queue.append(memoryview(data))
            self._queued += len(data)
            self._send()

    def _send(self) -> None:
        """Give the transport what it takes: all at once, it would copy, and encrypt, what cannot go out yet."""
        while self._queue and not self._is_full and not self.transport.is_closing():
            first = self._queue[0]
            if len(first) > PIECE:
                self._queue[0], first = first[PIECE:], first[:PIECE]
            else:
                self._queue.popleft()
            self._queued -= len(first)
            self.transport.write(first)
        if not self._queue:
            if not self._is_full:
                self._drained.set()
            if self._is_ending:
                self.transport.close()

    @property
    def unsent(self) -> int:
        """Return how many bytes have not left this process."""
        return self._queued + int(self.transport.get_write_buffer_size())

    async def drain(self) -> None:
        """Wait until little waits to go out.  Raises ConnectionResetError when the connection is gone."""
        await self._drained.wait()
        if self._closed.done():
            raise ConnectionResetError("Connection lost")

    def is_closing(self) -> bool:
        """Say whether nothing more is sent."""
        return self._is_ending or bool(self.transport.is_closing())

    def close(self) -> None:
        """Hang up once all is sent."""
        self._is_ending = True
        self._send()

    def abort(self) -> None:
        """Hang up at once: nothing more is sent, and nothing that has come is read any more."""
        self._is_ending = self._has_ended = True
        self._error = ConnectionAbortedError("this side hung up")
        self._start = self._end = 0
        self.transport.abort()
        self._wake()

    async def wait_closed(self) -> None:
        """Wait until it has hung up; another side that takes nothing more is not waited for."""
        await asyncio.wait((self._closed,), timeout=CLOSE_S)
        if not self._closed.done():
            self.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the other side, as asyncio's transports do."""
        return self.transport.get_extra_info(name, default)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on with TLS, as the side that connected.  Raises OSError and ssl.SSLError when that fails."""
        loop = asyncio.get_running_loop()
        self.transport = await loop.start_tls(self.transport, self, context)


def pages(size: int) -> memoryview:
    """Return memory of its own, which a process that is forked later does not share.

    Raises :exc:`ClusterError` when there is not so much.
    """
    try:
        return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except OSError as error:  # not a broken connection: the same would come again
        raise ClusterError(f"There is no memory for a message of {size:,} bytes ({error.strerror}).") from error


async def connect(host: str, port: int) -> FrameStream:
    """Connect.  Raises OSError when nobody answers."""
    _, stream = await asyncio.get_running_loop().create_connection(FrameStream, host, port)
    return stream


async def adopt(sock: Any) -> FrameStream:
    """Return a stream over a connected Unix socket."""
    _, stream = await asyncio.get_running_loop().create_unix_connection(FrameStream, sock=sock)
    return stream
