"""Connections of frames: real sockets, whatever the pieces in which bytes come."""

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

from octapi.protocol import stream, wire
from octapi.protocol.stream import FrameStream

#: around the lengths at which bytes go other ways
SIZES = [
    0,
    1,
    100,
    wire.LARGE,
    stream.SCRATCH // 2,
    stream.SCRATCH,
    stream.PIECE,
    stream.PAGES,
    stream.PAGES + 1,
    5_000_000,
]


async def pair(on_open: Callable[[FrameStream], None] | None = None) -> tuple[FrameStream, FrameStream]:
    one, other = socket.socketpair()
    for sock in (one, other):
        sock.setblocking(False)
    return await stream.adopt(one), await stream.adopt(other)


def messages(seed: int) -> list[Any]:
    chosen = random.Random(seed)
    return [("m", number, wire.blob(chosen.randbytes(chosen.choice(SIZES)))) for number in range(30)]


@pytest.mark.parametrize("seed", range(5))
def test_messages_of_all_lengths_arrive_in_order(seed: int) -> None:
    async def talk() -> list[Any]:
        sender, reader = await pair()
        wire.write(sender, map(wire.frame, messages(seed)))
        sender.close()
        found = [await wire.read_frame(reader) for _ in messages(seed)]
        with pytest.raises(asyncio.IncompleteReadError):
            await wire.read_frame(reader)
        reader.close()
        await asyncio.gather(sender.wait_closed(), reader.wait_closed())
        return found

    assert [tuple(message) for message in asyncio.run(talk())] == messages(seed)


@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_any_length_make_the_same_messages(seed: int) -> None:
    async def talk() -> list[Any]:
        sender, reader = await pair()
        data = memoryview(b"".join(bytes(wire.frame(message)) for message in messages(seed)[:10]))
        chosen = random.Random(seed)

        async def dribble() -> None:
            rest = data
            while rest:
                size = chosen.choice([1, 7, 1000, 70_000, 400_000])
                sender.write(bytes(rest[:size]))
                rest = rest[size:]
                await sender.drain()
                await asyncio.sleep(0)

        dribbling = asyncio.create_task(dribble())
        found = [await wire.read_frame(reader) for _ in range(10)]
        await dribbling
        sender.close()
        reader.close()
        await asyncio.gather(sender.wait_closed(), reader.wait_closed())
        return found

    assert [tuple(message) for message in asyncio.run(talk())] == messages(seed)[:10]


def test_who_does_not_read_makes_the_sender_wait() -> None:
    async def talk() -> tuple[int, Any]:
        sender, reader = await pair()
        frame = wire.frame(("m", wire.blob(b"x" * 20_000_000)))
        wire.write(sender, [frame])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sender.drain(), 0.2)
        waiting = sender.unsent
        found = await wire.read_frame(reader)
        await sender.drain()
        sender.close()
        reader.close()
        await asyncio.gather(sender.wait_closed(), reader.wait_closed())
        return waiting, found

    waiting, found = asyncio.run(talk())
    assert waiting > 15_000_000
    assert found[1] == b"x" * 20_000_000


def test_a_connection_that_ends_in_a_long_message_says_so() -> None:
    async def talk() -> None:
        sender, reader = await pair()
        sender.write(wire.LENGTH.pack(10_000_000) + b"x" * 500_000)
        sender.close()
        with pytest.raises(asyncio.IncompleteReadError):
            await wire.read_frame(reader)
        reader.close()
        await asyncio.gather(sender.wait_closed(), reader.wait_closed())

    asyncio.run(talk())


def test_a_long_message_is_memory_that_may_be_written_to() -> None:
    async def talk() -> Any:
        sender, reader = await pair()
        wire.write(sender, [wire.frame(wire.blob(b"x" * 2_000_000))])
        found = await wire.read_frame(reader)
        sender.close()
        reader.close()
        await asyncio.gather(sender.wait_closed(), reader.wait_closed())
        return found

    found = asyncio.run(talk())
    found.view[0] = 7
    assert found.view[0] == 7


def test_what_came_before_the_end_is_read_after_it() -> None:
    async def talk() -> list[Any]:
        sender, reader = await pair()
        wire.write(sender, map(wire.frame, ["one", "two", "three"]))
        sender.close()
        await sender.wait_closed()
        await reader.wait_closed()  # it has seen the end, and nobody has read yet
        return [await wire.read_frame(reader) for _ in range(3)]

    assert asyncio.run(talk()) == ["one", "two", "three"]


def test_after_this_side_hung_up_nothing_more_is_read() -> None:
    async def talk() -> None:
        sender, reader = await pair()
        wire.write(sender, map(wire.frame, ["one", "two", "three"]))
        assert await wire.read_frame(reader) == "one"
        reader.abort()
        with pytest.raises(ConnectionAbortedError):
            await wire.read_frame(reader)
        sender.close()
        await asyncio.gather(sender.wait_closed(), reader.wait_closed())

    asyncio.run(talk())
