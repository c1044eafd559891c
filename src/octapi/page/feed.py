"""Where state comes from: the gateway, asked only while somebody looks."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from octapi.client.endpoint import refused
from octapi.client.remote import hello
from octapi.errors import OctapiError
from octapi.protocol import client_messages as said
from octapi.protocol import wire
from octapi.protocol.messages import kind_of, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.client.endpoint import MasterEndpoint
    from octapi.protocol.stream import FrameStream

#: how long the master is still asked after the last one has looked, in seconds
LINGER_S: Final = 15.0
#: between attempts to reach a master that does not answer, in seconds
AGAIN_S: Final = 1.0
PATIENCE_S: Final = 5.0
#: a master that says nothing for this long is lost, in seconds
SILENT_S: Final = 12.0

Frame = dict[str, Any]


class GatewayFeed:
    """Watches through a client's connection.  ``on_frame`` and ``on_lost`` are called in the loop."""

    def __init__(
        self, way: Callable[[], MasterEndpoint], on_frame: Callable[[Frame], None], on_lost: Callable[[str], None]
    ) -> None:
        self._way = way
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._task: asyncio.Task[None] | None = None
        self._writer: FrameStream | None = None
        self._wanted_until = 0.0
        self._lookers = 0
        self._fresh = asyncio.Event()
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._asking = asyncio.Lock()

    # ---- who looks

    @contextlib.contextmanager
    def looking(self) -> Any:
        """Keep watching for as long as the block lasts, and a little longer."""
        self._lookers += 1
        self._wake()
        try:
            yield
        finally:
            self._lookers -= 1
            self._wanted_until = time.monotonic() + LINGER_S

    async def fresh(self) -> None:
        """Wait until the state is known, or is known to be unknown; keep watching a little."""
        self._wanted_until = time.monotonic() + LINGER_S
        self._wake()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._fresh.wait(), PATIENCE_S)

    def _is_wanted(self) -> bool:
        return self._lookers > 0 or time.monotonic() < self._wanted_until

    def _wake(self) -> None:
        if self._task is None or self._task.done():
            self._fresh.clear()
            self._task = asyncio.get_running_loop().create_task(self._run())

    # ---- the connection

    async def _run(self) -> None:
        while self._is_wanted():
            try:
                await self._watch()
            except (OSError, asyncio.IncompleteReadError, TimeoutError, OctapiError) as error:
                self._on_lost(str(error) or "It says nothing.")
                self._fresh.set()
                self._fail_answers()
                await asyncio.sleep(AGAIN_S)
            finally:
                self._hang_up()

    async def _watch(self) -> None:
        way = self._way()
        stream = self._writer = await way.open(PATIENCE_S)
        stream.write(wire.pack(("hello", hello() | {"script": "page"})) + wire.pack(plain(said.Watch(wanted=True))))
        while self._is_wanted():
            message = await asyncio.wait_for(wire.read_frame(stream), SILENT_S)
            kind = message[0]
            if kind == "refused":
                raise refused(message[1], way.label)
            if kind == "welcome":
                way.confirm(message[1]["time"])
            elif kind == "watch":
                self._on_frame(message[1])
                self._fresh.set()
            elif kind in self._answers:
                answer = self._answers.pop(kind)
                if not answer.done():  # nobody waits for it any more
                    answer.set_result(message[1])

    def _hang_up(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.write(wire.pack(plain(said.Bye())))
            self._writer.close()
            self._writer = None

    def _fail_answers(self) -> None:
        for future in self._answers.values():
            if not future.done():
                future.set_exception(OctapiError("The master does not answer now."))
        self._answers.clear()

    async def ask(self, question: Any) -> Any:
        """Ask the master something over the same connection.

        Raises :exc:`OctapiError` when it does not answer, and :exc:`MessageRefused` for a question that it would
        refuse: it would hang up, on everybody who looks.
        """
        said.said(plain(question))
        await self.fresh()
        async with self._asking:
            if self._writer is None:
                raise OctapiError("The master does not answer now.")
            future = asyncio.get_running_loop().create_future()
            self._answers[kind_of(question).word] = future
            self._writer.write(wire.pack(plain(question)))
            try:
                return await asyncio.wait_for(future, PATIENCE_S)
            except TimeoutError as error:
                raise OctapiError("The master did not answer in time.") from error

    async def ended(self) -> None:
        """Wait until nobody wants to watch any more.  Raises what ``on_frame`` and ``on_lost`` raise."""
        if self._task is not None:
            await self._task

    async def close(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
