"""Attacks of a stolen worker: what it says of itself, and what it says in another's name."""

import asyncio
import contextlib
import math
from typing import Any

from distributed.comm.core import CommClosedError

from octapi.protocol import wire
from octapi.trust.policy import STREAM_OP
from tests.security.attack_cluster import Field, Succeeded, must_be_refused
from tests.security.dask_side import FALSE_PORTS, METRICS, registration, until_registered
from tests.security.table import attack
from tests.security.well import all_is_well

HEALTH = {"cpu": 50.0, "memory": 1 << 30, "disk": 1 << 30, "swap": 100.0, "clock": 1e9}
FACTS: dict[Any, Any] = {
    "protocol": wire.PROTOCOL, "oldest": wire.OLDEST_PROTOCOL, "release": "1", "name": "mole", "address": "10.9.9.9",
    "host": "mole", "slots": 1, "platform": "Linux", "python": "3.11.7", "memory": 1 << 30, "health": HEALTH,
    "life": "x", "ssh": {}, "no_dask": True, "batches": [], "computations": [], "metrics": {},
}  # fmt: skip


def deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


def ours(*message: Any) -> dict[str, Any]:
    """Return one of OctaPi's messages as a worker sends it."""
    return {"op": STREAM_OP, "body": wire.pack(message)}


async def heard(comm: Any, seconds: float = 25) -> list[Any]:
    """Return what the master says to a worker until it is silent or hangs up."""
    found: list[Any] = []
    with contextlib.suppress(CommClosedError, TimeoutError):
        while True:
            said = await asyncio.wait_for(comm.read(), seconds)
            for part in said if isinstance(said, (list, tuple)) else [said]:
                if isinstance(part, dict) and part.get("op") == STREAM_OP:
                    found.append(wire.unpack(part["body"][wire.LENGTH.size :]))
                    if found[-1][0] == "refuse":
                        return found
    return found


@attack("worker says: a text of 17 MB about its system", change={"platform": "x" * (17 << 20)})
@attack("worker says: more memory than 63 bits", change={"memory": 2**64 - 1})
@attack("worker says: memory that is no number", change={"memory": True})
@attack("worker says: a million slots", change={"slots": 1_000_000})
@attack("worker says: slots that are true", change={"slots": True})
@attack("worker says: health that is NaN", change={"health": HEALTH | {"cpu": math.nan}})
@attack("worker says: health that is infinite", change={"health": HEALTH | {"memory": math.inf}})
@attack("worker says: health of 1e308", change={"health": HEALTH | {"disk": 1e308}})
@attack("worker says: health with a key of bytes", change={"health": HEALTH | {b"cpu": 1}})
@attack("worker says: escape sequences as its address", change={"address": "\x1b]0;evil\x07"})
@attack("worker says: a line break in its address", change={"address": "10.0.0.1\nHost *"})
@attack("worker says: escape sequences as its Python", change={"python": "3.11\x1b[2J"})
@attack("worker says: a key of bytes", change={b"name": "red"})
@attack("worker says: lists in lists, three hundred deep", change={"metrics": deep(300)})
@attack("worker says: batches that are numbers", change={"batches": [1, 2, 3]})
@attack("worker says: computations that are tables", change={"computations": [{}]})
@attack("worker says: a session of a megabyte", change={"batches": [["s" * (1 << 20), 1]]})
@attack("worker says: another's name", change={"name": "red"})
async def odd_hello(field: Field, change: dict[Any, Any]) -> str:
    comm = await until_registered(field)
    try:
        await comm.write([ours("hello", FACTS | change)])
        said = await heard(comm, 8)
    finally:
        comm.abort()
    await all_is_well(field)
    if not said or said[-1][0] != "refuse":
        raise Succeeded(f"it was let in: {str(said)[:80]}")
    return f"refused: {said[-1][1]}"


@attack("worker registers: no threads, which divides by zero", change={"nthreads": 0})
@attack("worker registers: threads that are text", change={"nthreads": "many"})
@attack("worker registers: a million threads", change={"nthreads": 1_000_000})
@attack("worker registers: versions with a key of bytes", change={"versions": {"packages": {b"x": "1", "y": "2"}}})
@attack("worker registers: versions that are a list", change={"versions": ["x"]})
@attack("worker registers: memory that is NaN", change={"metrics": METRICS | {"memory": math.nan}})
@attack(
    "worker registers: a bandwidth of 1e308",
    change={"metrics": METRICS | {"bandwidth": {"total": 1e308, "workers": {}, "types": {}}}},
)
@attack("worker registers: more memory than 63 bits", change={"memory_limit": 2**64 - 1})
@attack("worker registers: resources that are text", change={"resources": {"gpu": "many"}})
@attack("worker registers: an address of a megabyte", change={"address": "octapi://" + "x" * (1 << 20)})
@attack("worker registers: an extra with a key of bytes", change={"extra": {b"x": 1}})
async def odd_registration(field: Field, change: dict[str, Any]) -> str:
    async def talk() -> Any:
        comm = await field.dask("dask", "mole")
        try:
            await comm.write(registration("mole", f"octapi://127.0.0.1:{next(FALSE_PORTS)}") | change)
            return await comm.read()
        finally:
            comm.abort()

    outcome = await must_be_refused(talk())
    await all_is_well(field)
    return outcome


@attack("worker: pauses another worker", told={"op": "worker-status-change", "status": "paused", "stimulus_id": "x"})
@attack(
    "worker: ends a task in another's name",
    told={
        "op": "task-finished",
        "key": "k",
        "nbytes": 1,
        "type": b"",
        "typename": "int",
        "run_id": 1,
        "stimulus_id": "x",
        "metadata": {},
        "thread": 1,
        "startstops": [],
    },
)
@attack("worker: takes another's data away", told={"op": "release-worker-data", "key": "k", "stimulus_id": "x"})
@attack("worker: says that another has data", told={"op": "add-keys", "keys": ["k"], "stimulus_id": "x"})
@attack("worker: OctaPi's word of health in another's name", told=ours("health", HEALTH))
@attack("worker: OctaPi's word of who it is in another's name", told=ours("hello", FACTS | {"name": "red"}))
@attack("worker: ends another's batch", told=ours("end", ["s", 1], "done", 0, {}))
async def in_anothers_name(field: Field, told: dict[str, Any]) -> str:
    """Dask would merge the message over what it knows of the connection."""
    host, port = field.port("red")
    comm = await until_registered(field)
    try:
        await comm.write([told | {"worker": f"octapi://{host}:{port}"}])
        while True:
            await asyncio.wait_for(comm.read(), 8)
    except CommClosedError:
        await all_is_well(field)
        return "cut"
    except TimeoutError as error:
        raise Succeeded("it was taken") from error
    finally:
        comm.abort()


@attack("worker: a client's name in a message", told={"op": "log-event", "topic": "x", "msg": 1, "client": "c"})
@attack("worker: a message that is no table", told="OK!")
@attack("worker: a message without an operation", told={"worker": "x"})
@attack("worker: a number of 64 bits in a message", told={"op": "log-event", "topic": "x", "msg": 2**64 - 1})
@attack("worker: closes a semaphore that others use", told={"op": "semaphore_close", "name": "x"})
async def odd_message(field: Field, told: Any) -> str:
    comm = await until_registered(field)
    try:
        await comm.write([told])
        while True:
            await asyncio.wait_for(comm.read(), 8)
    except CommClosedError:
        await all_is_well(field)
        return "cut"
    except TimeoutError as error:
        raise Succeeded("it was taken") from error
    finally:
        comm.abort()


@attack("worker: asks for a shuffle as another worker")
async def shuffle_as_another(field: Field) -> str:
    host, port = field.port("red")
    comm = await field.dask("dask", "mole")
    try:
        await comm.write({"op": "shuffle_get", "id": "x", "worker": f"octapi://{host}:{port}", "reply": True})
        said = str(await asyncio.wait_for(comm.read(), 25))
    except CommClosedError:
        return "cut"
    finally:
        comm.abort()
    if "may not speak" not in said:
        raise Succeeded(said[:100])
    return "refused"


@attack("worker: a thousand messages that are none")
async def many_odd_messages(field: Field) -> str:
    """Each is refused, and after twenty the connection is ended."""
    comm = await until_registered(field)
    try:
        await comm.write([ours("hello", FACTS)])
        for number in range(50):
            await comm.write([ours("nonsense", number) for _ in range(20)])
            await asyncio.sleep(0.01)
        await heard(comm, 8)
        if not comm.closed():
            raise Succeeded("it is still listened to")
    except CommClosedError:
        pass
    finally:
        comm.abort()
    await all_is_well(field)
    return "cut"


@attack("worker: a registration that fails keeps the address for ever")
async def address_taken(field: Field) -> str:
    address = f"octapi://127.0.0.1:{next(FALSE_PORTS)}"
    first = await field.dask("dask", "mole")
    await first.write(registration("mole", address) | {"status": "nonsense"})
    with contextlib.suppress(CommClosedError, TimeoutError):
        await asyncio.wait_for(first.read(), 8)
    first.abort()
    second = await field.dask("dask", "pip")
    try:
        await second.write(registration("pip", address))
        said = await asyncio.wait_for(second.read(), 25)
    except CommClosedError as error:
        raise Succeeded("nobody else can have it") from error
    finally:
        second.abort()
    if not isinstance(said, dict) or said.get("status") != "OK":
        raise Succeeded(f"nobody else can have it: {str(said)[:80]}")
    return "the address is free again"
