"""Odd messages in great number at each border: ``python -m tests.security.fuzz 1000000``, split evenly.

The suite tries a seed's worth with hypothesis, which finds the smallest message that breaks something, and is slow.
This tries many, quickly: good messages with one or more parts changed, and their bytes with some changed.
"""

import random
import struct
import sys
import time
from typing import Any

import msgpack
from distributed.protocol import dumps

from octapi.engine import plain_frames
from octapi.errors import BatchRefused, MessageRefused, PeerRefused, RoleRefused, TrustError
from octapi.protocol import client_messages, wire
from octapi.protocol.checked import json_object
from octapi.protocol.records import outcomes
from octapi.trust import names
from tests.security.test_fuzz import BORDERS, OF_CLIENTS, OF_WORKERS, all_of, changed, registration

REFUSALS = (MessageRefused, RoleRefused, PeerRefused)
#: a good record: job 1 of its batch, a value
ROW = (1, 0, 4, 1.7e9, 0.5)
#: single values that have broken something somewhere
ODD: list[Any] = [
    None, True, False, 0, -1, 1 << 31, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63), 0.0, -0.0, 1e308,
    float("nan"), float("inf"), float("-inf"), 5e-324, "", "\0", "\n", "../x", "/etc/passwd", "a" * 300, "\u202e",
    "\x1b[2J", "\ud800", "[/bold]", "all", b"", b"\0", b"x" * 300, [], {}, [[]], [None], {"": None}, {"worker": "x"},
    {b"k": 1}, {1: 2},
]  # fmt: skip


def odd(chance: random.Random, depth: int = 3) -> Any:
    """Return a value of any kind."""
    kind = chance.randrange(8 if depth else 6)
    if kind < 4:
        return chance.choice(ODD)
    if kind == 4:
        return chance.getrandbits(chance.choice((8, 32, 63, 64, 80))) * chance.choice((1, -1))
    if kind == 5:
        return struct.unpack("<d", chance.randbytes(8))[0]
    parts = [odd(chance, depth - 1) for _ in range(chance.randrange(4))]
    return parts if kind == 6 else {f"k{place}": part for place, part in enumerate(parts)}


def spoilt(chance: random.Random, data: bytes) -> bytes:
    """Return bytes of which some are others, missing or twice there."""
    body = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(body) + 1)
        what = chance.randrange(4)
        if what == 0:
            del body[place : place + chance.randrange(1, 9)]
        elif what == 1:
            body[place:place] = chance.randbytes(chance.randrange(1, 9))
        elif body:
            body[place % len(body)] = chance.randrange(256)
    return bytes(body)


def message(border: int, chance: random.Random) -> None:
    """Read one odd message at a border."""
    read, good = BORDERS[border]
    found = chance.choice(good)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        found = changed(found, chance, odd(chance))
    if border < 7 or isinstance(found, dict):
        read(found)


def plain_bytes(chance: random.Random) -> None:
    """Read spoilt msgpack, as gateway and door do."""
    data = spoilt(chance, msgpack.packb(chance.choice(OF_WORKERS + OF_CLIENTS)))
    try:
        found = wire.unpack(data)
    except ValueError as error:
        raise MessageRefused from error
    chance.choice((all_of, client_messages.said))(found)


def dask_bytes(chance: random.Random) -> None:
    """Read spoilt frames of Dask."""
    frames = [bytes(frame) for frame in dumps(registration("mole", "octapi://h:1") | {"x": chance.random()})]
    place = chance.randrange(len(frames))
    frames[place] = spoilt(chance, frames[place])
    try:
        found, _ = plain_frames.loads_plain(frames)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError) as error:  # as in test_fuzz
        raise MessageRefused from error
    plain_frames.PLAIN(found)


def records(chance: random.Random) -> None:
    """Read spoilt outcomes, as a client reads a worker's."""
    rows = b"".join(wire.RECORD.pack(*ROW) + b"data" for _ in range(chance.randrange(1, 4)))
    try:
        for _ in outcomes(spoilt(chance, rows), 3):
            pass
    except (BatchRefused, struct.error, ValueError, TypeError) as error:  # each ends this batch, see Dispatcher
        raise MessageRefused from error


def json_lines(chance: random.Random) -> None:
    """Read spoilt lines of JSON."""
    json_object(spoilt(chance, b'{"op": "stop", "run": "x", "n": [1, 2.5, null, true], "t": "\\u0041"}'))


def name(chance: random.Random) -> None:
    """Read a name of a device."""
    names.check_new_name(spoilt(chance, b"red-1.local").decode("latin-1"))


WAYS: list[tuple[str, Any]] = [
    *((f"border {place}", lambda chance, place=place: message(place, chance)) for place in range(len(BORDERS))),
    ("msgpack", plain_bytes), ("frames of Dask", dask_bytes), ("records", records), ("JSON", json_lines),
    ("names", name), ]  # fmt: skip


def main(times: int, seed: int = 1) -> int:
    """Try so many; print what each border made of its part, and what broke it."""
    broken = 0
    for place, (title, way) in enumerate(WAYS):
        began, refused, read, faults = time.monotonic(), 0, 0, 0
        for number in range(times // len(WAYS)):
            chance = random.Random(f"{seed}/{place}/{number}")
            try:
                way(chance)
                read += 1
            except (*REFUSALS, TrustError):
                refused += 1
            except BaseException as error:
                faults += 1
                if faults < 4:
                    print(f"{title}, number {number}: {type(error).__name__}: {error!s:.200}")
        broken += faults
        took = time.monotonic() - began
        print(f"{title:<16} {read:>8} read {refused:>8} refused {faults:>5} BROKE it, {took:.0f} s", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
