"""Attacks of a stolen worker on the script that gives it a batch, and on those that do not."""

import asyncio
import contextlib
import pickle
import platform
import secrets
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgpack
from distributed.comm.core import CommClosedError
from tornado.iostream import StreamClosedError

from octapi.protocol import wire
from octapi.trust.policy import STREAM_OP
from tests.security.attack_cluster import Field, Succeeded
from tests.security.dask_side import until_registered
from tests.security.pupils import ABS, login
from tests.security.table import attack
from tests.security.well import all_is_well
from tests.security.workers_say import FACTS, ours

#: a script with one job for the stolen worker, and others that anybody may have
SCRIPT = """
import octapi
with octapi.Cluster() as cluster:
    while not any(worker.name == "mole" for worker in cluster.workers()):
        pass
    job = cluster.options(worker="mole", retries=0).submit(abs, -1)
    others = sum(cluster.options(worker="red").map(abs, range(-6, 0)))
    error = job.exception(60)
    print("JOB", type(error).__name__, str(error)[:300].replace(chr(10), " ") if error else job.result())
    print("OTHERS", others)
"""


def record(index: int = 0, kind: int = 0, data: bytes = b"", length: int | None = None) -> bytes:
    """Return one record of results."""
    return wire.RECORD.pack(index, kind, len(data) if length is None else length, 1e9, 0.1) + data


def printed(stdout: Any, memory: Any = 1) -> bytes:
    """Return a record with output."""
    return left(msgpack.packb((stdout, "", memory)))


def left(extra: bytes) -> bytes:
    """Return a record with what stands before its data, whatever it says."""
    return record(0, wire.WITH_EXTRA, wire.EXTRA.pack(len(extra), 0) + extra + pickle.dumps(1))


class Mole:
    """The stolen worker, registered and greeted."""

    def __init__(self, comm: Any) -> None:
        self.comm = comm
        self.heard: list[Any] = []

    async def say(self, *message: Any) -> None:
        await self.comm.write([ours(*message)])

    async def batch(self) -> Any:
        """Return the key of the next batch that nobody else may have; others are given back."""
        async with asyncio.timeout(60):
            while True:
                kind, *rest = await self._next()
                if kind == "define":
                    await self.say("ready", rest[0])
                elif kind == "run" and rest[3]["worker"] == "mole":
                    return rest[0]
                elif kind == "run":
                    await self.say("end", rest[0], "returned", 0, {})

    async def _next(self) -> Any:
        """Return what the master says next."""
        while not self.heard:
            said = await self.comm.read()
            for part in said if isinstance(said, (list, tuple)) else [said]:
                if isinstance(part, dict) and part.get("op") == STREAM_OP:
                    self.heard.append(wire.unpack(part["body"][wire.LENGTH.size :]))
        return self.heard.pop(0)


@contextlib.asynccontextmanager
async def mole(field: Field, **facts: Any) -> AsyncIterator[Mole]:
    """Be the stolen worker."""
    comm = await until_registered(field)
    try:
        found = Mole(comm)
        await found.say("hello", FACTS | {"life": secrets.token_hex(4), "python": platform.python_version()} | facts)
        yield found
    finally:
        comm.abort()


RECORDS: dict[str, bytes] = {
    "that are half a record": record(data=b"x")[:-3],
    "of a job that there is not": record(index=7, data=pickle.dumps(1)),
    "that say that they are four gigabytes long": record(data=b"x", length=(1 << 32) - 1),
    "of an unknown kind": record(kind=77),
    "with output that is a table": printed({"a": 1}),
    "with output that is no msgpack": left(b"\xc1" * 20),
    "with output in lists, two thousand deep": left(b"\x91" * 2000 + b"\xc0"),
    "with memory that is text": printed("out", "much"),
}


async def odd_results(field: Field, records: bytes) -> str:
    """The job fails with a name, and the script's other jobs have their results."""
    async with mole(field) as worker:
        running = asyncio.create_task(asyncio.to_thread(field.yard.run, "mole", SCRIPT))
        key = await worker.batch()
        await worker.say("begun", key, 0)
        await worker.say("results", key, records)
        await worker.say("end", key, "done", 1, {})
        said = await running
    if "OTHERS 21" not in said or "JOB BatchRefused" not in said:
        raise Succeeded(said[-300:])
    await all_is_well(field)
    return f"its job alone: {said.split('JOB ')[1][:60]}"


def register() -> None:
    """Put each kind of odd results into the table."""
    for words, records in RECORDS.items():
        attack(f"worker gives: results {words}", records=records)(odd_results)


register()


@attack("worker gives: the end of a batch without its results", reason="done", stop=1)
@attack("worker gives: the end of a batch after more jobs than it has", reason="returned", stop=1 << 31)
@attack("worker gives: the end of a batch for a reason that is none", reason="nonsense", stop=1)
async def odd_end(field: Field, reason: str, stop: int) -> str:
    """The job comes to an end all the same, as lost, or at another start; its script does not wait for ever."""
    async with mole(field) as worker:
        running = asyncio.create_task(asyncio.to_thread(field.yard.run, "mole", SCRIPT))
        key = await worker.batch()
        await worker.say("end", key, reason, stop, {})
        answers = asyncio.create_task(answer_well(worker))
        said = await running
        answers.cancel()
        await asyncio.gather(answers, return_exceptions=True)
    if "OTHERS 21" not in said:
        raise Succeeded(said[-300:])
    await all_is_well(field)
    return f"its job alone: {said.split('JOB ')[1][:60]}"


async def answer_well(worker: Mole) -> None:
    """Do what a batch asks for that comes again."""
    while True:
        key = await worker.batch()
        await worker.say("results", key, record(data=pickle.dumps(1)))
        await worker.say("end", key, "done", 1, {})


@attack("worker says: a message of two gigabytes, with which results come", size=1 << 31)
@attack("worker says: a message of eight gigabytes, with which results come", size=1 << 33)
@attack("worker asks: a request of a gigabyte", size=1 << 30, is_stream=False)
async def long_message(field: Field, size: int, is_stream: bool = True) -> str:
    """It is cut before a byte of it is read."""
    comm = await until_registered(field) if is_stream else await field.dask("dask", "mole")
    try:
        head = struct.pack("QQ", 1, size)
        await comm.stream.write(struct.pack("Q", len(head)) + head + b"x" * 1000)
        async with asyncio.timeout(8):
            while True:
                await comm.read()
    except (CommClosedError, StreamClosedError):
        await all_is_well(field)
        return "cut"
    except TimeoutError as error:
        raise Succeeded("it is waited for") from error
    finally:
        comm.abort()


def of(kind: str, *rest: Any) -> Callable[[str], tuple[Any, ...]]:
    return lambda digest: (kind, digest, *rest)


@attack("worker says: that a computation which it was never given cannot be used", said=of("refused", "x" * 100_000))
@attack("worker says: that a computation which it was never given is ready", said=of("ready"))
@attack("worker says: that a computation which it was never given is cleaned up", said=of("closed"))
async def not_its_computation(field: Field, said: Callable[[str], tuple[Any, ...]]) -> str:
    """Its script, and with it the master's memory, hears nothing of it."""
    digest = secrets.token_hex(16)
    async with login(field, "ann") as ann:
        ann.say("define", digest, ABS, {"limits": {"red": 1}})
        await ann.ask("jobs")
        async with mole(field, python="2.7.18") as worker:  # nobody's jobs come to it
            for _ in range(20):
                await worker.say(*said(digest))
            await worker.say("health", {"cpu": 1.0})
            with contextlib.suppress(TimeoutError):
                while (heard := await ann.hear("agent", seconds=3))[1] != "mole":
                    pass
                raise Succeeded(f"its script hears {str(heard)[:80]}")
    await all_is_well(field)
    return "nobody hears of it"
