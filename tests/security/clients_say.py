"""Attacks of a client, or of a pupil who has a client's login: what it says, and what it has workers told."""

import asyncio
import contextlib
import math
from typing import Any

from distributed.comm.core import CommClosedError
from distributed.protocol import Serialize

from octapi.protocol import wire
from octapi.telemetry.run_trace import RunTrace
from octapi.trust.identity import Identity
from tests.security.attack_cluster import Bomb, Field, Succeeded, must_be_refused
from tests.security.table import attack
from tests.security.well import all_is_well

HELLO = {"protocol": wire.PROTOCOL, "oldest": wire.OLDEST_PROTOCOL}
FALSE_TRUST = {"time": 1.0, "removed": [], "authorities": ["-----BEGIN CERTIFICATE-----"], "metrics": ""}


async def until_cut(reader: asyncio.StreamReader, seconds: float = 10) -> str:
    try:
        async with asyncio.timeout(seconds):  # news of workers come meanwhile
            while True:
                said = await wire.read_frame(reader)
                if said[0] == "refused":
                    return f"refused: {said[1]['text']}"
    except TimeoutError as error:
        raise Succeeded("it was taken") from error
    except (asyncio.IncompleteReadError, OSError) as error:
        return f"cut: {type(error).__name__}"


def story(**change: Any) -> dict[str, Any]:
    made = RunTrace(1e9)
    made.took("red", "f", 1e9, 1e9 + 1, 1, 0, 1.0)
    return made.plain() | change


@attack("client tells workers: an authority of its own", message=["trust", FALSE_TRUST])
@attack("client tells workers: that they are refused", message=["refuse", "go away"])
@attack("client tells workers: to stop another's session", message=["kill", "session"])
@attack("client tells workers: to drop another's batches", message=["drop", [["session", 1]]])
@attack("client tells workers: that another has its results", message=["settled", [["session", 1]]])
@attack("client tells workers: to say another's results again", message=["replay", ["session", 1], 0])
@attack("client tells workers: a computation past the master", message=["define", "d", b"", {}])
@attack("client tells workers: a batch past the master", message=["run", ["s", 1], "s", "d", {}])
@attack("client tells workers: a method of the agent", message=["handle", ["define"]])
@attack("client tells workers: nothing", message=[])
async def tells(field: Field, message: list[Any]) -> str:
    async with field.stream("clients", "ann") as (reader, writer):
        writer.write(wire.pack(("hello", HELLO)))
        writer.write(wire.pack(("tell", None, message)))
        outcome = await until_cut(reader)
    await all_is_well(field)
    return outcome


@attack("client says: a method of the gateway that is no message", said=("left", 1))
@attack("client says: counts of 64 bits", said=("summary", {"waiting": 2**64 - 1}))
@attack("client says: counts that are NaN", said=("summary", {"done": math.nan}))
@attack("client says: functions that are tables", said=("summary", {"functions": [{}]}))
@attack("client says: a computation with limits of text", said=("define", "d", b"", {"limits": {"red": "many"}}))
@attack("client says: a computation named by a table", said=("define", "d", b"", {"name": {}}))
@attack("client says: a batch of 2^40 jobs", said=("run", 1, 1, "d", {"jobs": 2**40, "data": b""}))
@attack(
    "client says: a batch with a time limit that is NaN",
    said=("run", 1, 1, "d", {"jobs": 1, "data": b"", "timeout_s": math.nan}),
)
@attack("client says: a claim with jobs below none", said=("claim", {}, [[1, "d", {"jobs": -1}, 0, None]]))
@attack("client says: a message with too much behind it", said=("jobs", 1, 2, 3))
@attack("client says: a number of runs below none", said=("runs", -1))
@attack("client says: a question about runs that is a list", said=("manage", ["submit"]))
@attack("client says: a worker's name in bytes", said=("drain", b"red", True))
@attack("client says: a key of bytes", said=("fetch", {b"run": "x"}))
@attack("client says: no list", said={"kind": "jobs"})
async def says(field: Field, said: Any) -> str:
    async with field.stream("clients", "ann") as (reader, writer):
        writer.write(wire.pack(("hello", HELLO)))
        writer.write(wire.pack(said))
        outcome = await until_cut(reader)
    await all_is_well(field)
    return outcome


@attack("client greets: a script's name of a list", facts={"script": ["x"]})
@attack("client greets: an absence that is NaN", facts={"absence_s": math.nan})
@attack("client greets: frames seen that are text", facts={"seen": "many"})
@attack("client greets: a process with a number of 64 bits", facts={"pid": 2**64 - 1})
async def greets(field: Field, facts: dict[str, Any]) -> str:
    async with field.stream("clients", "ann") as (reader, writer):
        writer.write(wire.pack(("hello", HELLO | facts)))
        outcome = await until_cut(reader)
    await all_is_well(field)
    return outcome


@attack("client tells a story: times that are NaN", news=story(began=math.nan))
@attack("client tells a story: sums of 1e308", news=story(workers=[["red", 1, 0, 1e308]]))
@attack("client tells a story: endless buckets", news=story(buckets=[["red", 1, math.inf, 0, 0]]))
@attack("client tells a story: numbers as texts", news=story(busy_s="nan"))
async def tells_story(field: Field, news: dict[str, Any]) -> str:
    """The story is left out, and the page shows everything else to everybody."""
    async with field.stream("clients", "ann") as (reader, writer):
        writer.write(wire.pack(("hello", HELLO | {"script": "teller.py"})))
        writer.write(wire.pack(("summary", {"functions": ["f"], "story": news})))
        writer.write(wire.pack(("jobs",)))
        while (await asyncio.wait_for(wire.read_frame(reader), 20))[0] != "jobs":
            pass
        await all_is_well(field)
    if "makes no sense" not in field.master.text():
        raise Succeeded("it was taken")
    return "left out"


@attack("client: a script called [/bold]", script="[/bold]")
@attack("client: a script called by escape sequences", script="\x1b]0;evil\x07\x1b[2J")
@attack("client: a script called by letters that turn round", script="\u202egpj.exe")
async def odd_script(field: Field, script: str) -> str:
    """Lists of scripts work for all others, and nothing in them reaches a terminal."""
    async with field.stream("clients", "ann") as (reader, writer):
        hello = HELLO | {
            "script": script,
            "user": script,
            "host": "x",
            "session": "s" * 9 + script[-3:],
            "token": "t" * 9,
        }
        writer.write(wire.pack(("hello", hello)))
        writer.write(wire.pack(("summary", {"functions": [script]})))
        await asyncio.wait_for(wire.read_frame(reader), 20)
        try:
            said = await asyncio.to_thread(field.yard.command, "master", "jobs")
        except AssertionError as error:
            raise Succeeded(f"octapi jobs fails: {str(error)[-80:]}") from error
        finally:
            writer.write(wire.pack(("bye",)))
            await writer.drain()
    if any(not line.replace("\t", " ").isprintable() for line in said.split("\n")):
        raise Succeeded("it reaches the terminal")
    return "shown as what it is"


@attack("client: an upload of 13 MB at once")
async def long_upload(field: Field) -> str:
    question = {"op": "upload", "run": "x", "name": "f", "data": b"x" * (13 << 20), "mode": 0o644, "first": True}
    async with field.stream("clients", "ann") as (reader, writer):
        writer.write(wire.pack(("hello", HELLO)))
        writer.write(wire.pack(("manage", question)))
        outcome = "answered with an error"
        try:
            while (said := await asyncio.wait_for(wire.read_frame(reader), 20))[0] not in ("manage", "refused"):
                pass
            if said[0] == "manage" and "ok" in said[1]:
                raise Succeeded("it was taken")
        except (asyncio.IncompleteReadError, OSError):
            outcome = "cut"
    await asyncio.sleep(0)
    await all_is_well(field)
    return outcome


# ---- through Dask


async def dask_client(field: Field, name: str) -> Any:
    """Register a client of Dask's."""
    comm = await field.dask("dask", "ann")
    await comm.write({"op": "register-client", "client": name, "reply": False, "versions": {"packages": {}}})
    await asyncio.wait_for(comm.read(), 25)
    return comm


@attack("client: a worker's name in a message of Dask", told={"op": "heartbeat-client", "worker": "octapi://x"})
@attack(
    "client: another's name in a message of Dask", told={"op": "client-desires-keys", "keys": ["k"], "client": "his"}
)
async def speaks_for_another(field: Field, told: dict[str, Any]) -> str:
    async with registered_as(field, "bob", "his"):
        comm = await dask_client(field, "hers")
        try:
            await comm.write([told])
            while True:
                await asyncio.wait_for(comm.read(), 8)
        except CommClosedError:
            return "cut"
        except TimeoutError as error:
            raise Succeeded("it was taken") from error
        finally:
            comm.abort()


@contextlib.asynccontextmanager
async def registered_as(field: Field, who: str, name: str) -> Any:
    comm = await field.dask("dask", who)
    await comm.write({"op": "register-client", "client": name, "reply": False, "versions": {"packages": {}}})
    await asyncio.wait_for(comm.read(), 25)
    try:
        yield comm
    finally:
        comm.abort()


@attack("client: registers under another client's name")
async def another_client(field: Field) -> str:
    async with registered_as(field, "bob", "his"):
        try:
            comm = await dask_client(field, "his")
        except CommClosedError:
            return "cut"
        comm.abort()
        raise Succeeded("it is the other one now")


@attack("client: a pickle through the scheduler to a worker without Dask", operation="run", through="proxy")
@attack(
    "client: a coroutine through the scheduler to a worker without Dask", operation="run_coroutine", through="proxy"
)
@attack("client: a plugin to all workers, one without Dask among them", operation="plugin-add", through="broadcast")
@attack("client: a pickle for an agent, as what it is to repeat", operation="echo", through="proxy", worker="red")
@attack("client: a pickle for an agent, as a key to forget", operation="free_keys", through="broadcast", worker="red")
@attack("client: a pickle for an agent, to be run", operation="run", through="proxy", worker="red")
async def pickle_to_agent(field: Field, operation: str, through: str, worker: str = "slim") -> str:
    """Nothing of it is unpickled there, and the agent lives; the process of Dask's tasks, if any, may run it."""
    mark = field.place / f"mark-{operation}-{worker}"
    host, port = field.port(worker)
    bomb = Serialize(Bomb(mark))
    inner = {"op": operation} | {
        "echo": {"data": bomb},
        "free_keys": {"keys": [bomb], "stimulus_id": "x"},
    }.get(operation, {"function": bomb, "plugin": bomb, "name": "x"})
    target: dict[str, Any] = {"worker": f"octapi://{host}:{port}"}
    if through == "broadcast":
        target = {"workers": [f"octapi://{host}:{port}"], "on_error": "return"}
    comm = await field.dask("dask", "ann")
    try:
        await comm.write({"op": through, "msg": inner, "reply": True} | target)
        with contextlib.suppress(CommClosedError, TimeoutError):
            await asyncio.wait_for(comm.read(), 25)
    finally:
        comm.abort()
    if mark.exists():
        raise Succeeded(f"it was unpickled in process {mark.read_text().split()}")
    await all_is_well(field)
    return "left as bytes"


# ---- removed while a connection is open


async def removed_meanwhile(field: Field, name: str) -> Identity:
    """Log in anew, so that it can be removed."""
    login = field.yard.token("--role", "client")
    await asyncio.to_thread(field.yard.command, f"home-{name}", "login", login, "--name", name)
    return Identity.from_json((field.place / f"home-{name}" / "client.json").read_text())


@attack("client: removed after it connected and before it greeted")
async def greets_late(field: Field) -> str:
    field.identities["late"] = await removed_meanwhile(field, "late")
    async with field.stream("clients", "late") as (reader, writer):
        await asyncio.to_thread(field.yard.command, "master", "nodes", "remove", "late")
        writer.write(wire.pack(("hello", HELLO)))
        return await must_be_refused(wire.read_frame(reader))


@attack("client: removed after it connected to Dask")
async def asks_late(field: Field) -> str:
    field.identities["later"] = await removed_meanwhile(field, "later")
    comm = await field.dask("dask", "later")
    try:
        await asyncio.to_thread(field.yard.command, "master", "nodes", "remove", "later")

        async def talk() -> Any:
            await comm.write({"op": "identity", "reply": True})
            return await comm.read()

        return await must_be_refused(talk())
    finally:
        comm.abort()
