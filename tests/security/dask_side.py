"""Attacks on Dask: its operations with stolen identities, and pickles where none belong."""

import asyncio
import itertools
import ssl
import time
from typing import Any

from distributed.comm.core import CommClosedError
from distributed.protocol import Serialize, ToPickle

from octapi.engine.dask_nodes import QuietScheduler, QuietWorker
from tests.security.attack_cluster import Bomb, Field, Succeeded, frames, must_be_refused, raw_frames
from tests.security.table import attack

#: Dask's own operations that hold no code, reach no other worker, and that a worker needs: all others are attacked
HARMLESS_FOR_A_WORKER = frozenset(
    "register-worker heartbeat_worker unregister who_has shuffle_barrier shuffle_get shuffle_get_or_create "
    "shuffle_restrict_task event_clear event_is_set event_set event_wait multi_lock_acquire multi_lock_release "
    "semaphore_acquire semaphore_close semaphore_refresh_leases semaphore_register semaphore_release semaphore_value "
    "task-finished task-erred release-worker-data add-keys long-running reschedule keep-alive log-event "
    "worker-status-change request-refresh-who-has steal-response close-stream octapi octapi-refused "
    "get_data shuffle_receive".split()
)


async def ask(comm: Any, operation: str, **fields: Any) -> str:
    """Send one request; return why it was refused."""
    try:
        await comm.write({"op": operation, "reply": True, **fields})
        found = await asyncio.wait_for(comm.read(), 25)
    except CommClosedError:
        return "cut"
    text = str(found.get("exception", "")) + str(found.get("text", "")) if isinstance(found, dict) else ""
    if "may not" in text:
        return "refused"
    raise Succeeded(f"{operation} answered {str(found)[:120]}")


async def every_request(field: Field, port: str, who: str, operations: list[str]) -> str:
    outcomes = []
    for operation in operations:
        comm = await field.dask(port, who)
        try:
            outcomes.append(await ask(comm, operation))
        finally:
            comm.abort()
    return f"{outcomes.count('refused')} operations refused, {outcomes.count('cut')} cut"


METRICS = {
    "memory": 0,
    "managed_bytes": 0,
    "spilled_bytes": {"memory": 0, "disk": 0},
    "bandwidth": {"total": 1, "workers": {}, "types": {}},
    "digests_total_since_heartbeat": {},
}


def registration(name: str, address: str) -> dict[str, Any]:
    """Return what Dask's worker says when it registers."""
    return {
        "op": "register-worker", "reply": False, "address": address, "status": "running", "nthreads": 1, "name": name,
        "now": time.time(), "resources": {}, "memory_limit": 0, "local_directory": "", "services": {}, "nanny": None,
        "pid": 1, "versions": {}, "extra": {}, "stimulus_id": "x", "server_id": f"Worker-{address}",
        "metrics": METRICS,
    }  # fmt: skip


FALSE_PORTS = itertools.count(1)


async def registered(field: Field, who: str = "mole", name: str = "mole") -> Any:
    """Register a worker that is none; raises CommClosedError when that is refused."""
    comm = await field.dask("dask", who)
    await comm.write(registration(name, f"octapi://127.0.0.1:{next(FALSE_PORTS)}"))
    found = await asyncio.wait_for(comm.read(), 25)
    if not isinstance(found, dict) or found.get("status") != "OK":
        comm.abort()
        raise CommClosedError(str(found)[:80])
    return comm


async def every_stream_message(field: Field, operations: list[str]) -> str:
    for operation in operations:
        comm = await until_registered(field)
        try:
            await comm.write([{"op": operation}])
            while True:
                await asyncio.wait_for(comm.read(), 25)
        except CommClosedError:
            pass
        except TimeoutError as error:
            raise Succeeded(f"{operation} was taken") from error
        finally:
            comm.abort()
    return f"{len(operations)} operations, each of which ended the connection"


async def until_registered(field: Field) -> Any:
    """Register once the scheduler has forgotten the last one of this name."""
    for _ in range(200):
        try:
            return await registered(field)
        except CommClosedError:
            await asyncio.sleep(0.02)
    raise AssertionError("the false worker was never let in, so nothing is shown")


async def dask_operations() -> tuple[list[str], list[str], list[str]]:
    """Return all requests and stream messages of a scheduler and all requests of a worker, from Dask itself."""
    scheduler = QuietScheduler(dashboard=False, host="127.0.0.1", port=0)
    async with scheduler:
        worker = QuietWorker(scheduler.address, nthreads=1, dashboard=False, nanny=None)
        found = list(scheduler.handlers), list(scheduler.stream_handlers), list(worker.handlers)
        for name, executor in worker.executors.items():
            if name != "offload":  # that one is everybody's in this process
                executor.shutdown()
    return (
        sorted(set(found[0]) - HARMLESS_FOR_A_WORKER - {"close"}),
        sorted(set(found[1]) - HARMLESS_FOR_A_WORKER),
        sorted(set(found[2]) - HARMLESS_FOR_A_WORKER - {"close"}),
    )


@attack("dask: a worker's identity and each of the scheduler's requests")
async def scheduler_requests(field: Field) -> str:
    return await every_request(field, "dask", "mole", (await dask_operations())[0])


@attack("dask: a worker's identity and each of the scheduler's stream messages")
async def scheduler_messages(field: Field) -> str:
    return await every_stream_message(field, (await dask_operations())[1])


@attack("worker: another worker's identity and each of its agent's requests", port="red")
@attack("worker: another worker's identity and each request of Dask's process", port="red's Dask")
async def worker_requests(field: Field, port: str) -> str:
    return await every_request(field, port, "mole", (await dask_operations())[2])


@attack("dask: a client's identity registers as a worker", who="ann", name="ann")
@attack("dask: a worker registers under another's name", who="mole", name="red")
async def false_registration(field: Field, who: str, name: str) -> str:
    return await must_be_refused(registered(field, who, name))


@attack("dask: a worker registers with numbers that are missing", metrics={})
@attack("dask: a worker registers with numbers that are none", metrics=METRICS | {"memory": "much"})
async def odd_metrics(field: Field, metrics: Any) -> str:
    """Dask's scheduler would keep them, and its own bookkeeping would stop at them."""

    async def talk() -> Any:
        comm = await field.dask("dask", "mole")
        await comm.write(registration("mole", f"octapi://127.0.0.1:{next(FALSE_PORTS)}") | {"metrics": metrics})
        return await comm.read()

    return await must_be_refused(talk())


@attack("dask: a worker registers at another's address")
async def false_address(field: Field) -> str:
    host, port = field.port("red")

    async def talk() -> Any:
        comm = await field.dask("dask", "mole")
        await comm.write(registration("mole", f"octapi://{host}:{port}"))
        return await comm.read()

    return await must_be_refused(talk())


@attack("dask: a worker says that another has left", operation="unregister")
@attack("dask: a worker's heartbeat in another's name", operation="heartbeat_worker")
async def speaks_for_another(field: Field, operation: str) -> str:
    host, port = field.port("red")
    comm = await field.dask("dask", "mole")
    try:
        return await ask(comm, operation, address=f"octapi://{host}:{port}", metrics={}, now=0.0)
    finally:
        comm.abort()


@attack("dask: a pickle in the first message", where="greeting")
@attack("dask: a pickle in a worker's registration", where="registration")
@attack("dask: a pickle in a worker's news of a task", where="result")
@attack("worker: a pickle in another worker's request for data", where="get_data")
@attack("worker: a pickle as data of a shuffle that nobody runs", where="shuffle_receive")
@attack("dask: a pickle as the graph of a client inside a task, of a worker without tasks", where="update-graph")
@attack("worker: a pickle for an actor that lives nowhere", where="actor_execute")
async def hostile_pickle(field: Field, where: str) -> str:
    mark = field.place / f"mark-{where}"
    bomb = Serialize(Bomb(mark))
    outcome = "left as bytes"
    try:
        if where == "greeting":
            async with field.stream("dask", "mole") as (reader, writer):
                writer.write(frames({"compression": bomb}))
                await asyncio.wait_for(reader.read(-1), 25)
        elif where == "registration":
            comm = await field.dask("dask", "mole")
            told = registration("mole", f"octapi://127.0.0.1:{next(FALSE_PORTS)}") | {"extra": {"x": bomb}}
            await comm.write(told)
            await asyncio.wait_for(comm.read(), 5)
            comm.abort()
        elif where == "result":
            comm = await until_registered(field)
            told = {"key": "x", "nbytes": 1, "type": bomb, "typename": bomb, "metadata": {}, "run_id": 1}
            told |= {"stimulus_id": "x", "startstops": [], "thread": 1}
            await comm.write([{"op": "task-finished", **told}])
            await comm.write([{"op": "log-event", "topic": "x", "msg": bomb}])
            await asyncio.wait_for(comm.read(), 5)
            comm.abort()
        elif where == "update-graph":
            comm = await until_registered(field)
            told = {"code": ToPickle(Bomb(mark)), "annotations": ToPickle(Bomb(mark)), "expr_ser": bomb, "keys": []}
            await comm.write([{"op": where, "client": "Client-worker-x", **told}])
            await asyncio.wait_for(comm.read(), 5)
            comm.abort()
        else:
            comm = await field.dask("red's Dask", "mole")
            told = {
                "get_data": {"keys": [bomb], "who": bomb},
                "shuffle_receive": {"data": bomb, "run_id": 1, "shuffle_id": "x"},
                "actor_execute": {"actor": "x", "function": "f", "args": [bomb], "kwargs": {}},
            }[where]
            await comm.write({"op": where, "reply": True, **told})
            await asyncio.wait_for(comm.read(), 5)
            comm.abort()
    except (CommClosedError, TimeoutError, ConnectionError, ssl.SSLError) as error:
        outcome = f"cut: {type(error).__name__}"
    if mark.exists():
        raise Succeeded(f"it was unpickled in process {mark.read_text()}")
    return outcome


@attack("dask: bare pickle bytes where msgpack belongs", who="mole", data=b"cos\nsystem\n(S'true'\ntR.")
@attack("dask: a thousand empty frames", who="mole", data=b"")
@attack("worker: bare pickle bytes where msgpack belongs", who="mole", data=b"cos\nsystem\n(S'true'\ntR.", port="red")
async def odd_frames(field: Field, who: str, data: bytes, port: str = "dask") -> str:
    comm = await field.dask(port, who)
    try:
        comm.stream.write(raw_frames(data) if data else raw_frames(*[b""] * 1000))
        await asyncio.wait_for(comm.read(), 25)
    except CommClosedError:
        return "cut"
    finally:
        comm.abort()
    raise Succeeded("it answered")


@attack("clients: a job whose result is a pickle that runs code")
async def hostile_result(field: Field) -> str:
    """It runs where the result is asked for, in the script that trusts its own cluster; never on the master."""
    mark = field.place / "mark-job"
    code = (
        "import octapi\n"
        f"def job():\n    class Bomb:\n        def __reduce__(self):\n"
        f"            return (exec, (\"import os; open({str(mark)!r}, 'a').write(str(os.getpid()) + chr(10))\",))\n"
        "    return Bomb()\n"
        "import os\n"
        "with octapi.Cluster() as c: c.submit(job).result()\n"
        "print('PID', os.getpid())\n"
    )
    said = await asyncio.to_thread(field.yard.run, "master", code)
    pid = said.split("PID ")[1].split()[0]
    ran_in = mark.read_text().split()
    if ran_in != [pid]:
        raise Succeeded(f"it ran in {ran_in}, the script is {pid}")
    return "unpickled in the script only"
