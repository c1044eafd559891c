"""Several questions to a master over one connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from octapi.client.endpoint import refused
from octapi.errors import MasterNotFound, RunError
from octapi.protocol import client_messages as said
from octapi.protocol import wire
from octapi.protocol.messages import plain

if TYPE_CHECKING:
    from types import TracebackType

    from octapi.client.endpoint import MasterEndpoint
    from octapi.protocol.stream import FrameStream


class MasterRpc:
    """A connection to the master at the end of ``way``; ``hello`` says who asks.

    Entering it raises :exc:`MasterNotFound` when nobody answers there within ``patience_s``, and what
    :func:`octapi.client.endpoint.refused` returns.
    """

    def __init__(self, way: MasterEndpoint, patience_s: float, hello: dict[str, Any]) -> None:
        self.way = way
        self.patience_s = patience_s
        self.hello = hello
        self._stream: FrameStream | None = None

    async def __aenter__(self) -> MasterRpc:
        try:
            self._stream = await self.way.open(self.patience_s)
            self._stream.write(wire.pack(("hello", self.hello)))
            facts = await self._hear("welcome")
        except BaseException as error:
            await self._close()
            if isinstance(error, (OSError, asyncio.IncompleteReadError)):
                raise MasterNotFound(
                    f"No master answers at {self.way.label} ({error or type(error).__name__})."
                ) from error
            raise
        self.way.confirm(facts["time"])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None and not self._stream.is_closing():
            self._stream.write(wire.pack(plain(said.Bye())))
        await self._close()

    async def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            await self._stream.wait_closed()

    def say(self, message: Any) -> None:
        """Send one of :mod:`octapi.protocol.client_messages`."""
        assert self._stream is not None
        self._stream.write(wire.pack(plain(message)))

    async def hear(self) -> Any:
        """Wait for one message.  Raises OSError and asyncio.IncompleteReadError when the master is gone."""
        assert self._stream is not None
        return await wire.read_frame(self._stream)

    async def _hear(self, wanted: str) -> Any:
        while True:
            kind, *rest = await self.hear()
            if kind == "refused":
                raise refused(rest[0], self.way.label)
            if kind == wanted:
                return rest[0]

    async def manage(self, operation: str, **facts: Any) -> dict[str, Any]:
        """Ask something about runs.  Raises :exc:`RunError` with the master's reason, and :exc:`MasterNotFound`."""
        assert self._stream is not None
        try:
            self.say(said.Manage({"op": operation, **facts}))
            await self._stream.drain()
            answer = await self._hear("manage")
        except (OSError, asyncio.IncompleteReadError) as error:
            raise MasterNotFound(f"The master at {self.way.label} hung up. Is it being restarted?") from error
        if "ok" not in answer:
            raise RunError(str(answer.get("error")))
        found: dict[str, Any] = answer["ok"]
        return found
