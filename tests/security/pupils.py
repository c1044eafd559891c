"""Attacks of somebody who has a client's login on the work of another login, and on the master's memory."""

import asyncio
import contextlib
import pickle
import secrets
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import psutil

from octapi.client.payload import of_function
from octapi.protocol import wire
from tests.security.attack_cluster import Field, Succeeded, must_be_refused
from tests.security.clients_say import HELLO, until_cut
from tests.security.table import attack, expected
from tests.security.visitors import SECRET, with_secrets
from tests.security.well import all_is_well

ABS = of_function("abs", pickle.dumps(abs), (), ()).to_bytes()
DATA = msgpack.packb([pickle.dumps(((-5,), {}))])
BATCH: dict[str, Any] = {"form": wire.JOBS, "data": DATA, "jobs": 1, "ids": b"\0" * 8, "worker": None}
#: a script that does nothing until it is stopped
WAITS = b"import threading\nprint('begun', flush=True)\nthreading.Event().wait()\n"
#: what a master holds for a client that does not read, at most, in bytes; generous, for others have their part
HELD = 300 << 20


class Login:
    """A raw client of the master, with a session."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.facts: dict[str, Any] = {}
        self.mine = {"session": secrets.token_hex(8), "token": secrets.token_hex(8)}

    def say(self, *message: Any) -> None:
        self.writer.write(wire.pack(message))

    async def hear(self, *kinds: str, seconds: float = 20) -> Any:
        """Return the next message of one of these kinds."""
        async with asyncio.timeout(seconds):
            while True:
                said = await wire.read_frame(self.reader)
                if said[0] in kinds:
                    return said

    async def ask(self, *message: Any) -> Any:
        """Ask something, and return what is answered."""
        self.say(*message)
        return await self.hear(message[0], "refused")

    async def end_of(self, ident: int) -> list[Any]:
        """Return how a batch ended."""
        while (said := await self.hear("agent", "refused"))[0] == "agent":
            if said[2][0] == "end" and said[2][1] == ident:
                return list(said[2])
        return list(said)


@contextlib.asynccontextmanager
async def login(field: Field, who: str, **facts: Any) -> AsyncIterator[Login]:
    """Greet the master."""
    async with field.stream("clients", who) as (reader, writer):
        found = Login(reader, writer)
        found.say("hello", HELLO | found.mine | {"script": f"{who}.py"} | facts)
        found.facts = (await found.hear("welcome"))[1]
        try:
            yield found
        finally:
            found.say("bye")


@attack("client says: a batch of more jobs than a batch may have", change={"jobs": 1 << 40})
@attack("client says: a batch that leaves out more jobs than it has", change={"skip": 7})
@attack("client says: a batch that only another master could know", change={"gone": True})
@attack("client says: a batch with files outside of its directory", change={"extra": [b"", [["a", b"", -1, 0.0]]]})
@attack("client says: a batch that must not end before the next century", change={"timeout_s": 1e12})
@attack("client says: a batch for a worker with a name of a megabyte", change={"worker": "x" * (1 << 20)})
async def odd_batch(field: Field, change: dict[str, Any]) -> str:
    """It ends that batch by its name; the next one of the same client runs."""
    async with login(field, "ann") as ann:
        digest = secrets.token_hex(16)
        ann.say("define", digest, ABS, {})
        ann.say("run", 1, 1, digest, BATCH | change)
        ann.say("run", 2, 1, digest, BATCH)
        odd = await ann.end_of(1)
        if odd[2] != "refused" or next(iter(change)) not in odd[4]["text"]:
            raise Succeeded(f"it ended as {odd}")
        if (good := await ann.end_of(2))[2] != "done":
            raise Succeeded(f"the next one ended as {good}")
    await all_is_well(field)
    return f"refused: {odd[4]['text'][:60]}"


@attack("client: fetches what another's run left, by its name")
async def fetches_anothers(field: Field) -> str:
    run = await asyncio.to_thread(with_secrets, field)
    async with login(field, "bob") as bob:
        bob.say("fetch", {"run": run})
        return await must_be_refused(bob.hear("recovered", "refused"))


@attack("client: takes over another's session", change={})
@attack("client: takes over another's session with an empty key", change={"token": ""})
@attack("client: takes over another's session with its key, under its own login", change=None)
async def takes_session(field: Field, change: dict[str, str] | None) -> str:
    """Also who has found the key is another login, and gets none of it."""
    async with login(field, "ann") as ann:
        mine = {"session": ann.mine["session"], "token": "0" * 16} if change is not None else ann.mine
        async with field.stream("clients", "bob") as (reader, writer):
            writer.write(wire.pack(("hello", HELLO | mine | (change or {}))))
            outcome = await must_be_refused(wire.read_frame(reader))
        if (await ann.ask("jobs"))[0] != "jobs":
            raise Succeeded("its owner has lost it")
    return outcome


@attack("client: begins under the name of another's run")
async def takes_run(field: Field) -> str:
    run = await asyncio.to_thread(with_secrets, field)
    async with login(field, "bob", run=run) as bob:
        if bob.facts["run"] == run:
            raise Succeeded("it is that run now")
    return "it got a run of its own"


@attack("client: defines another's computation as something else", said=("define", ABS, {}))
@attack("client: has workers forget another's computation", said=("tell", "forget"))
@attack("client: sets another's computation up anew", said=("tell", "renew", {}))
@attack("client: puts a file beside another's computation", said=("tell", "file", ["x.py", b"", 0o644, 0.0]))
async def touches_computation(field: Field, said: tuple[Any, ...]) -> str:
    digest = secrets.token_hex(16)
    async with login(field, "ann") as ann:
        ann.say("define", digest, ABS, {})
        await ann.ask("jobs")
        async with login(field, "bob") as bob:
            kind, *rest = said
            bob.say(*(kind, digest, *rest) if kind == "define" else (kind, None, [rest[0], digest, *rest[1:]]))
            outcome = expected("another script's", await until_cut(bob.reader))
        ann.say("run", 1, 1, digest, BATCH)
        if (end := await ann.end_of(1))[2] != "done":
            raise Succeeded(f"its owner's jobs end as {end}")
    return outcome


@attack("client: reads the output of another's submitted script", op="log", more={"offset": 0})
@attack("client: stops another's submitted script", op="stop", more={})
@attack(
    "client: puts a file into another's submitted script", op="upload", more={"name": "a", "data": b"", "mode": 0o644}
)
@attack("client: starts another's submitted script once more", op="launch", more={})
async def manages_anothers(field: Field, op: str, more: dict[str, Any]) -> str:
    async with login(field, "ann") as ann:
        made = (await ann.ask("manage", {"op": "submit", "script": "x.py", "arguments": [f"script-{SECRET}"]}))[1]
        if "ok" not in made:
            raise Succeeded(f"nothing was submitted, so nothing is shown: {made}")
        run = made["ok"]["run"]
        part = {"op": "upload", "run": run, "name": "x.py", "data": WAITS, "mode": 0o644, "first": True}
        for question in (part, {"op": "launch", "run": run}):
            answer = (await ann.ask("manage", question))[1]
            if "ok" not in answer:
                raise Succeeded(f"nothing runs, so nothing is shown: {answer}")
    if op == "upload":
        more = more | {"first": False}
    async with login(field, "bob") as bob:
        said = await bob.ask("manage", {"op": op, "run": run} | more)
    async with login(field, "ann") as ann:
        stopped = (await ann.ask("manage", {"op": "stop", "run": run}))[1]
    if said[0] != "refused" and "error" not in said[1]:
        raise Succeeded(f"it was done: {said}")
    if "ok" not in stopped:
        raise Succeeded(f"its owner cannot stop it: {stopped}")
    await all_is_well(field)
    return f"refused: {str(said[1].get('error') or said[1])[:60]}"


@attack("client: watches for arguments and output of another's run")
async def watches_for_secrets(field: Field) -> str:
    run = await asyncio.to_thread(with_secrets, field)
    async with login(field, "bob") as bob:
        bob.say("watch", True)
        heard = [await bob.hear("watch")]
        heard += [await bob.ask("runs", 1000), await bob.ask("jobs"), await bob.ask("nodes")]
        field.run_with_secrets = ""
        running = asyncio.create_task(asyncio.to_thread(with_secrets, field))
        with contextlib.suppress(TimeoutError):
            while not running.done():
                heard.append(await bob.hear("watch", seconds=2))
        another = await running
    told = repr(heard)
    if SECRET in told:
        raise Succeeded(f"it hears {told[told.index(SECRET) - 60 :][:80]}")
    return expected("kept", "kept from it" if run in told and another in told else "it heard of no such run")


@attack("client says: a frame of four gigabytes", size=(1 << 32) - 1)
@attack("client says: a frame of two gigabytes", size=1 << 31)
@attack("client says: a frame of a gigabyte, without a session that could bring jobs", size=1 << 30, mine={"token": ""})
async def long_frame(field: Field, size: int, mine: dict[str, str] | None = None) -> str:
    """Before a byte of it is read."""
    async with login(field, "ann", **(mine or {})) as ann:
        ann.writer.write(wire.LENGTH.pack(size) + b"x" * 1000)
        outcome = expected("limit", await until_cut(ann.reader))
    await all_is_well(field)
    return outcome


@attack("client: asks without end, and reads no answer")
async def reads_nothing(field: Field) -> str:
    """What the master keeps for it is bounded, and nobody else waits."""
    family = [psutil.Process(field.master.process.pid), *psutil.Process(field.master.process.pid).children(True)]
    before = sum(process.memory_info().rss for process in family)
    asked = wire.pack(("runs", 10_000)) + wire.pack(("nodes",)) * 20
    async with login(field, "bob") as bob:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(60):
                for _ in range(3000):
                    bob.writer.write(asked)
                    await bob.writer.drain()
        taken = sum(process.memory_info().rss for process in family if process.is_running()) - before
        await all_is_well(field)
    if taken > HELD:
        raise Succeeded(f"the master has taken {taken >> 20} MB for it")
    return f"the master has taken {taken >> 20} MB"
