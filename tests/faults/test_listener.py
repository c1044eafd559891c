"""A client that is back over another connection is heard over that one alone."""

import asyncio
from types import SimpleNamespace
from typing import Any

from octapi.master.gateway.listener import Listener
from octapi.protocol import wire


class Gate:
    """A gateway that knows one client, and what was taken of it."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.took, self.gone = asyncio.Event(), asyncio.Event()
        self.client: Any = SimpleNamespace(writer=None, keeps=False, is_alive=lambda: None, send=lambda *_: None)
        self.happened: list[object] = []
        self.client.take = self.happened.append
        self.sessions = self.requests = self
        self.observers = SimpleNamespace(meter=SimpleNamespace(refused=0))

    def greet(self, writer: asyncio.StreamWriter, *_: Any) -> Any:
        self.client.writer = writer
        writer.write(wire.pack("welcome"))
        return self.client

    def take(self, client: Any, body: bytes) -> None:
        self.taken.append(wire.unpack(body))
        self.took.set()

    def left(self, client: Any, writer: asyncio.StreamWriter) -> None:
        if client.writer is writer:
            self.gone.set()


async def come(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and be welcomed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    hello = {"protocol": wire.PROTOCOL, "oldest": wire.OLDEST_PROTOCOL}
    writer.write(wire.pack(("hello", hello)))
    assert await asyncio.wait_for(wire.read_frame(reader), 30) == "welcome"
    return reader, writer


def test_what_is_left_of_an_old_connection_is_not_counted_on_the_new_one() -> None:
    """The client sends it again, as it was not acknowledged; taken twice, it would shift the numbers of all frames."""

    async def scene() -> None:
        gate: Any = Gate()
        reception = Listener(gate, None)
        port = await reception.listen("127.0.0.1", 0)
        old_reader, old = await come(port)
        _, new = await come(port)
        old.write(wire.pack("of the old connection"))
        assert await asyncio.wait_for(old_reader.read(), 30) == b"", "the master still listens to the old one"
        new.write(wire.pack("of the new connection"))
        await gate.took.wait()
        assert gate.taken == ["of the new connection"]
        assert gate.happened == []
        for writer in (old, new):
            writer.close()
            await writer.wait_closed()
        await gate.gone.wait()
        reception.close()

    asyncio.run(asyncio.wait_for(scene(), 60))
