"""Attacks of a stolen worker that has a task of Dask, and so may act as a client inside it, but as no other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from distributed import Client
from distributed.comm.core import CommClosedError
from distributed.protocol import ToPickle
from distributed.versions import get_versions

from octapi.engine.dask_comm import GuardedSecurity
from octapi.engine.guard import Guard
from octapi.trust.contexts import Clock, Trust
from tests.security.attack_cluster import Bomb, Field, Succeeded
from tests.security.dask_side import FALSE_PORTS, registration
from tests.security.table import attack
from tests.security.well import all_is_well

OWN = "Client-worker-mole"


async def operations(comm: Any) -> list[str]:
    """Return what the next message asks for."""
    said = await asyncio.wait_for(comm.read(), 25)
    parts = said if isinstance(said, (list, tuple)) else [said]
    return [part["op"] for part in parts if isinstance(part, dict) and "op" in part]


@contextlib.asynccontextmanager
async def with_a_task(field: Field) -> AsyncIterator[Client]:
    """Let the stolen worker have a task of ann's, and return ann's client."""
    address = f"octapi://127.0.0.1:{next(FALSE_PORTS)}"
    comm = await field.dask("dask", "mole")
    await comm.write(registration("mole", address) | {"versions": get_versions()})  # ann's client looks at them
    assert (await asyncio.wait_for(comm.read(), 25))["status"] == "OK"
    host, port = field.port("dask")
    trust = Trust(field.identities["ann"], Clock(), on_refused=lambda _: None)
    security = GuardedSecurity(Guard(trust, "client"))
    try:
        async with Client(
            f"octapi://{host}:{port}", security=security, asynchronous=True, set_as_default=False
        ) as client:
            future = client.submit(abs, -1, workers=[address], pure=False)
            while "compute-task" not in await operations(comm):
                pass
            yield client
            del future
    finally:
        comm.abort()


async def inside(field: Field, name: str = OWN) -> Any:
    """Register a client inside a task; raises CommClosedError when that is refused."""
    comm = await field.dask("dask", "mole")
    await comm.write({"op": "register-client", "client": name, "reply": False, "versions": {}})
    assert "stream-start" in await operations(comm)
    return comm


async def until_cut(comm: Any, *told: Any) -> str:
    """Say something as a client inside a task, and wait until the connection is ended."""
    try:
        await comm.write(list(told))
        while True:
            await asyncio.wait_for(comm.read(), 8)
    except CommClosedError:
        return "cut"
    except TimeoutError as error:
        raise Succeeded("it was taken") from error
    finally:
        comm.abort()


async def must_not_register(field: Field, name: str) -> str:
    try:
        comm = await inside(field, name)
    except CommClosedError:
        await all_is_well(field)
        return "cut"
    comm.abort()
    raise Succeeded(f"it is {name} now")


@attack("dask: a client inside a task, of a worker without tasks")
async def without_tasks(field: Field) -> str:
    return await must_not_register(field, OWN)


@attack("dask: a client inside a task registers under a name that no task gives", name="Client-mine")
@attack("dask: a client inside a task registers under the name of a script's client", name="")
async def false_name(field: Field, name: str) -> str:
    async with with_a_task(field) as client:
        (await inside(field)).abort()  # under its own it may
        return await must_not_register(field, name or client.id)


@attack("dask: a client inside a task takes a script's results away", told={"op": "client-releases-keys"})
@attack("dask: a client inside a task cancels as a script's client", told={"op": "cancel-keys", "force": True})
@attack("dask: a client inside a task ends a script's client", told={"op": "close-client"})
async def as_the_script(field: Field, told: dict[str, Any]) -> str:
    async with with_a_task(field) as client:
        keys = list(client.futures)
        more = {} if told["op"] == "close-client" else {"keys": keys}
        outcome = await until_cut(await inside(field), told | more | {"client": client.id})
        if any(future.status == "cancelled" for future in client.futures.values()) or client.status != "running":
            raise Succeeded("the script has lost its results")
    await all_is_well(field)
    return outcome


@attack("dask: a client inside a task says that it is another worker")
async def as_a_worker(field: Field) -> str:
    host, port = field.port("red")
    async with with_a_task(field):
        outcome = await until_cut(
            await inside(field), {"op": "heartbeat-client", "worker": f"octapi://{host}:{port}", "client": OWN}
        )
    await all_is_well(field)
    return outcome


@attack("dask: a client inside a task, and a pickle in another message beside it")
async def pickle_beside(field: Field) -> str:
    mark = field.place / "mark-beside"
    async with with_a_task(field):
        bomb = {"op": "log-event", "topic": "x", "msg": ToPickle(Bomb(mark))}
        outcome = await until_cut(await inside(field), {"op": "heartbeat-client"}, bomb)
    if mark.exists():
        raise Succeeded(f"it was unpickled in process {mark.read_text()}")
    return outcome


@attack("dask: a client inside a task asks for more than tasks need")
async def asks_for_more(field: Field) -> str:
    """What only scripts may ask for, each on a connection of its own."""
    asked = ("restart", "broadcast", "proxy", "register_worker_plugin", "feed", "subscribe_worker_status", "get_logs")
    async with with_a_task(field):
        (await inside(field)).abort()
        for operation in asked:
            comm = await field.dask("dask", "mole")
            try:
                await comm.write({"op": operation, "reply": True, "msg": {"op": "run"}, "worker": "x"})
                said = str(await asyncio.wait_for(comm.read(), 25))
            except CommClosedError:
                continue
            finally:
                comm.abort()
            if "may not" not in said:
                raise Succeeded(f"{operation}: {said[:80]}")
    await all_is_well(field)
    return f"{len(asked)} requests, each refused"
