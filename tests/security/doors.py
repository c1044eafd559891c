"""Attacks on the doors: joining, and what clients say."""

import asyncio
import contextlib
import ssl
import struct
import time
from typing import Any

from octapi.errors import PeerRefused
from octapi.protocol import wire
from octapi.trust import certificates, contexts
from octapi.trust import joining as door_client
from tests.security.attack_cluster import Field, Succeeded, byte_by_byte, must_be_refused, must_hang_up
from tests.security.table import attack, expected


@attack("join: a request of four gigabytes", data=struct.pack("<Q", 1 << 32))
@attack("join: bytes that are no msgpack", data=struct.pack("<Q", 8) + b"\xc1" * 8)
@attack("join: lists in lists, a thousand deep", data=struct.pack("<Q", 1001) + b"\x91" * 1000 + b"\xc0")
@attack("join: a list instead of a request", data=wire.pack(["join"]))
async def odd_request(field: Field, data: bytes) -> str:
    async with field.stream("join") as (reader, writer):
        await wire.read_frame(reader)
        writer.write(data)
        return await must_hang_up(reader)


@attack("join: a token's public id without its secret", words="does not know", secret=b"")
@attack("join: a secret of the wrong kind", words="does not know", secret=12)
@attack("join: role master", words="is for a worker", role="master")
@attack("join: role authority", words="is for a worker", role="authority")
@attack("join: a worker's token for a client", words="is for a worker", role="client")
@attack("join: the name ../../etc/passwd", words="cannot be the name", name="../../etc/passwd")
@attack("join: a name with a line break", words="cannot be the name", name="eve\nHost *")
@attack("join: a name with a NUL", words="cannot be the name", name="eve\0")
@attack("join: a name of a megabyte", words="cannot be the name", name="e" * 60_000)
@attack("join: the name of another device", words="is taken by another", name="red")
@attack(
    "join: a request for a key without proof",
    words="signing request is damaged",
    csr="-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n",
)
@attack(
    "join: an SSH key with a second line",
    words="SSH key is damaged",
    ssh_key="ssh-ed25519 AAAA\n@cert-authority * ssh-ed25519 AAAA",
)
@attack("join: an operation that is a method", words="does not know the request", op="__class__")
@attack("join: renewing without an identity", words="does not know this identity", op="renew")
async def bad_joining(field: Field, words: str, **other: Any) -> str:
    return expected(words, await must_be_refused(field.request(**field.joining(**other))))


@attack("join: renewing the identity of a removed worker", who="gone")
@attack("join: renewing with a certificate of another authority", who="foreign worker")
@attack("join: renewing with the scheduler's own identity", who="master")
async def bad_renewal(field: Field, who: str) -> str:
    return await must_be_refused(field.request(**field.joining(op="renew"), who=who))


@attack("join: a request that was recorded from another device")
async def replayed(field: Field) -> str:
    """The proof of the key is bound to the nonce of its own connection."""
    key = certificates.new_key()
    recorded = certificates.request(key, b"n" * 16)
    return expected("does not prove its key", await must_be_refused(field.request(**field.joining(csr=recorded))))


@attack("join: a removed worker comes back with the token it has")
async def comes_back(field: Field) -> str:
    return expected("was removed", await must_be_refused(field.request(**field.joining(name="gone"))))


@attack("join: posing as the door to a member, with a worker's certificate")
async def false_door(field: Field) -> str:
    """A member that is led to a false master must notice before it says anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    contexts.load(context, field.identities["mole"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        facts = {"protocol": 1, "release": "", "cluster": "fort", "cluster_id": field.identities["ann"].cluster_id}
        writer.write(wire.pack(facts | {"time": time.time(), "nonce": b"n" * 16, "authority": ""}))
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            heard.append(await reader.readexactly(1))
        writer.close()

    heard: list[bytes] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        await door_client.call(field.identities["ann"], f"127.0.0.1:{port}")
    except PeerRefused as error:
        if heard:
            raise Succeeded("the member spoke first") from error
        return f"refused: {error}"
    finally:
        server.close()
    raise Succeeded("the member believed it")


@attack("old token: for one device, by two at the same time")
async def two_at_once(field: Field) -> str:
    """However close they come, one is in."""
    once = await asyncio.to_thread(field.yard.token, "--once")
    requests = [field.request(**field.joining(token=once, name=f"twin{number}")) for number in range(6)]
    answers = await asyncio.gather(*requests)
    inside = [answer for answer in answers if "ok" in answer]
    if len(inside) != 1:
        raise Succeeded(f"{len(inside)} of 6 are in: {str(answers)[:100]}")
    return f"one is in, and five are refused: {next(answer['text'] for answer in answers if 'error' in answer)}"


@attack("old token: revoked while somebody who has it is connected")
async def revoked_meanwhile(field: Field) -> str:
    text = await asyncio.to_thread(field.yard.token)
    request = field.joining(token=text, name="late-one")
    async with field.stream("join") as (reader, writer):
        greeting = await wire.read_frame(reader)
        await asyncio.to_thread(field.yard.command, "master", "token", "revoke", request["token"])
        writer.write(wire.pack(request | {"csr": request["csr"](greeting)}))
        return expected("revoked", await must_be_refused(wire.read_frame(reader)))


#: what the door has beside wheels, by every way to write it
PATHS = (
    "/../authority/authority.json", "/wheels/../../authority/authority.json", "//etc/passwd", "/wheels//etc/passwd",
    "/wheels/%2e%2e/authority.json", "/wheels/..%2f..%2fauthority.json", "/wheels/", "/wheels",
    "/authority/authority.json",
    "/wheels/../../worker.json", "/" + "a" * 5000, "http://evil.example/bootstrap.py", "/wheels.json\x00", "*",
)  # fmt: skip


@attack("join: files that are no wheels, from the counter at the door")
async def other_files(field: Field) -> str:
    context = field.context(None)
    context.set_alpn_protocols(["http/1.1"])
    for path in PATHS:
        reader, writer = await asyncio.open_connection(*field.port("join"), ssl=context, server_hostname="x")
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            said = await asyncio.wait_for(reader.read(1 << 20), 25)
        finally:
            writer.close()
        if said and said.split(b" ")[1][:1] != b"4" and said.split(b" ")[1] != b"503":
            raise Succeeded(f"{path} answers {said[:80]!r}")
    return f"{len(PATHS)} paths, none of which leads to a file"


@attack("join: an HTTP request of one byte a second")
async def slow_http(field: Field) -> str:
    context = field.context(None)
    context.set_alpn_protocols(["http/1.1"])
    reader, writer = await asyncio.open_connection(*field.port("join"), ssl=context, server_hostname="x")
    try:
        return await byte_by_byte(reader, writer, b"GET /bootstrap.py HTTP/1.1\r\n" + b"X-Filling: y\r\n" * 4)
    finally:
        writer.close()


@attack("join: guessing secrets, as fast as it goes")
async def guessing(field: Field) -> str:
    """This comes last: wrong secrets of this address are counted for a minute."""
    texts = [await must_be_refused(field.request(**field.joining(secret=bytes([n]) * 16))) for n in range(30)]
    slowed = sum("Too many wrong tokens" in text for text in texts)
    if slowed < 25:
        raise Succeeded(f"only {slowed} of 30 guesses were slowed down")
    return f"{slowed} of 30 guesses were told to wait"


# ---- clients


@attack("clients: a message kind that is a method of the gateway", kind="__init__")
@attack("clients: an unknown message", kind="nonsense")
@attack("clients: a message with arguments of the wrong kind", kind="run")
async def odd_message(field: Field, kind: str) -> str:
    async with field.stream("clients", "ann") as (reader, writer):
        writer.write(wire.pack(("hello", {"protocol": wire.PROTOCOL, "oldest": wire.OLDEST_PROTOCOL})))
        assert (await wire.read_frame(reader))[0] == "welcome"
        writer.write(wire.pack((kind, 1, 2, "x", {"jobs": "many"})))
        while True:  # news of workers may come before it hangs up
            try:
                await asyncio.wait_for(wire.read_frame(reader), 25)
            except (asyncio.IncompleteReadError, OSError) as error:
                return f"cut: {type(error).__name__}"


@attack("clients: what was kept of a crashed script, with a guessed token")
async def guessed_recovery(field: Field) -> str:
    async def talk() -> Any:
        async with field.stream("clients", "ann") as (reader, writer):
            writer.write(wire.pack(("hello", {"protocol": wire.PROTOCOL, "oldest": wire.OLDEST_PROTOCOL})))
            writer.write(wire.pack(("fetch", {"token": "0" * 32})))
            while (found := await wire.read_frame(reader))[0] not in ("recovered", "refused"):
                pass
            return found

    return await must_be_refused(talk())
