"""Attacks on every port: who may not even speak, and who says nothing."""

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from typing import Any

from octapi.protocol import wire
from octapi.trust import joining as door_client
from tests.security.attack_cluster import Field, Succeeded, byte_by_byte, frames, must_be_refused, must_hang_up
from tests.security.table import ATTACKS

EVERY_PORT = ("join", "clients", "dask", "red", "red's Dask")
#: the ports where only members may say anything
MEMBERS_PORTS = ("clients", "dask", "red", "red's Dask")


async def bytes_instead_of_tls(field: Field, port: str, data: bytes) -> str:
    async with field.stream(port, tls=False) as (reader, writer):
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        try:
            said = await asyncio.wait_for(reader.read(1 << 16), 25)
        except ConnectionError:
            return "cut"
    if said and not said.startswith(b"\x15\x03"):  # a TLS alert is no answer
        raise Succeeded(f"it answered {said[:60]!r}")
    return "TLS alert" if said else "hung up"


async def old_tls(field: Field, port: str) -> str:
    async def talk() -> Any:
        async with field.stream(port, "mole", version=ssl.TLSVersion.TLSv1_2) as (reader, _):
            return await wire.read_frame(reader)

    return await must_be_refused(talk())


async def as_nobody(field: Field, port: str, who: str | None) -> str:
    """TLS succeeds on this side before the other side looks; so speak, and see whether anything is answered."""

    async def talk() -> Any:
        if port == "clients":
            async with field.stream(port, who) as (reader, writer):
                writer.write(wire.pack(("hello", {"protocol": wire.PROTOCOL, "oldest": wire.OLDEST_PROTOCOL})))
                return await wire.read_frame(reader)
        comm = await field.dask(port, who)
        try:
            await comm.write({"op": "identity", "reply": True})
            return await comm.read()
        finally:
            comm.abort()

    return await must_be_refused(talk())


async def greeting_too_long(field: Field, port: str, who: str) -> str:
    async with field.stream(port, who) as (reader, writer):
        writer.write(struct.pack("<Q", 1 << 60) + b"x" * 64)
        if port == "dask":
            await reader.readexactly(8)  # its own greeting comes first
            await reader.read(1 << 16)
        return await must_hang_up(reader)


async def silent_crowd(field: Field, port: str) -> str:
    """Two hundred connections that say nothing; whoever comes after them must still be served."""
    crowd = [socket.create_connection(field.port(port), 5) for _ in range(200)]
    try:
        began = time.monotonic()
        while time.monotonic() - began < 40:
            if await is_served(field, port):
                return f"members are served after {time.monotonic() - began:.1f} s"
            await asyncio.sleep(0.2)
        raise Succeeded("nobody else is served any more")
    finally:
        for sock in crowd:
            sock.close()


async def is_served(field: Field, port: str) -> bool:
    try:
        if port == "join":
            await door_client.call(field.identities["mole"], f"127.0.0.1:{field.ports['join']}")
        elif port == "clients":
            async with field.stream(port, "ann") as (reader, writer):
                writer.write(wire.pack(("hello", {"protocol": wire.PROTOCOL, "oldest": wire.OLDEST_PROTOCOL})))
                return (await asyncio.wait_for(wire.read_frame(reader), 5))[0] == "welcome"
        else:
            comm = await field.dask(port, "mole")
            comm.abort()
    except (OSError, asyncio.IncompleteReadError):
        return False
    return True


async def drip(field: Field, port: str, who: str | None) -> str:
    """Slow-loris: one byte of a message every second, for ever."""
    async with field.stream(port, who) as (reader, writer):
        return await byte_by_byte(reader, writer, wire.pack({"op": "call", "filling": "x" * 1000})[:60])


for _port in EVERY_PORT:
    ATTACKS[f"{_port}: an HTTP request instead of TLS"] = lambda field, port=_port: bytes_instead_of_tls(
        field, port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    ATTACKS[f"{_port}: a plain OctaPi or Dask message instead of TLS"] = lambda field, port=_port: bytes_instead_of_tls(
        field, port, frames({"op": "identity"}) + wire.pack(("hello", {}))
    )
    ATTACKS[f"{_port}: TLS 1.2"] = lambda field, port=_port: old_tls(field, port)
for _port in MEMBERS_PORTS:
    for _who, _words in (
        (None, "no certificate"),
        ("foreign worker", "a certificate of another authority"),
        ("twin worker", "a certificate of another authority that has the same names"),
        ("gone", "the identity of a removed worker"),
        ("expired", "an expired certificate"),
        ("early", "a certificate that is not valid yet"),
    ):
        ATTACKS[f"{_port}: {_words}"] = lambda field, port=_port, who=_who: as_nobody(field, port, who)
for _port, _who in (
    ("clients", "mole"),
    ("clients", "master"),
    ("dask", "master"),
    ("red", "ann"),
    ("red's Dask", "ann"),
):
    ATTACKS[f"{_port}: the wrong role, {_who}"] = lambda field, port=_port, who=_who: as_nobody(field, port, who)
for _port, _who in (("clients", "ann"), ("dask", "mole")):
    ATTACKS[f"{_port}: a first message of an exabyte"] = lambda field, port=_port, who=_who: greeting_too_long(
        field, port, who
    )
for _port in ("join", "clients", "dask"):
    ATTACKS[f"{_port}: two hundred connections that say nothing"] = lambda field, port=_port: silent_crowd(field, port)
ATTACKS["join: a request of one byte a second"] = lambda field: drip(field, "join", None)
ATTACKS["clients: a greeting of one byte a second"] = lambda field: drip(field, "clients", "ann")
ATTACKS["dask: a greeting of one byte a second"] = lambda field: drip(field, "dask", "mole")
