"""Asking a master for what it kept of a client that went away without a word."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import time
from collections.abc import Callable
from typing import Any

from octapi import _version
from octapi.dispatch import ticket as outcome
from octapi.dispatch import wire
from octapi.dispatch.faults import cause
from octapi.dispatch.flight import outcomes
from octapi.dispatch.ticket import WorkerInfo
from octapi.dispatch.way import Way, refused
from octapi.errors import ClusterError, JobCrashed, MasterNotFound, WorkerLost

#: how long to wait for the master's first answer, in seconds
ANSWER_S = 10.0

Make = Callable[..., Any]


class Recovery:
    """Gathers the outcomes of another client's batches."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._workers: dict[str, WorkerInfo] = {}
        self._found: dict[tuple[int, int], Any] = {}
        self.complete = False

    def jobs(self) -> list[Any]:
        """Return what was made of the outcomes, in the order of submission."""
        return [self._found[key] for key in sorted(self._found)]

    def hear(self, message: Any) -> None:
        """Take one message of the master."""
        kind, *rest = message
        if kind == "refused":
            raise refused(rest[0], "this address")
        if kind in ("recovered", "workers"):
            rows = rest[0]["workers"] if kind == "recovered" else rest[0]
            self._workers.update({row["name"]: WorkerInfo(**row) for row in rows})
        elif kind == "complete":
            self.complete = True
        elif kind == "agent":
            self._agent(rest[0], *rest[1])

    def _agent(self, worker: str, kind: str, ident: Any, *rest: Any) -> None:
        if kind == "results":
            for index, what, data, started, ran, extra in outcomes(rest[0]):
                self._add(ident, index, what, data, started, started + ran, self._workers.get(worker), extra)
        elif kind == "end" and rest[0] == "died":
            info = rest[2]
            error = JobCrashed(f"Its process {cause(info)} after {info.get('ran_s', 0.0):.1f} s.", worker=worker)
            self._fault(ident, rest[1], error, worker)
        elif kind == "lost":
            for index in range(rest[0]):
                self._fault(ident, index, WorkerLost("Its worker went away while it had the job."), worker)

    def _fault(self, ident: int, index: int, error: Exception, worker: str) -> None:
        now = time.time()
        self._add(ident, index, outcome.FAULT, pickle.dumps(error), now, now, self._workers.get(worker), None)

    def _add(self, ident: int, index: int, *facts: Any) -> None:
        if (ident, index) not in self._found:
            self._found[ident, index] = self._make(*facts)


def recover(way: Way, token: str, timeout_s: float | None, terminate: bool, make: Make) -> tuple[list[Any], bool]:
    """Wait for the jobs of the client with ``token``; return ``make(...)`` of each outcome, and whether all are there.

    ``timeout_s`` bounds the wait; with ``terminate`` what still runs then is stopped.
    Raises :exc:`MasterNotFound`, or :exc:`ClusterError` when the master knows no such client.
    """
    return asyncio.run(_recover(way, token, timeout_s, terminate, Recovery(make)))


async def _recover(
    way: Way, token: str, timeout_s: float | None, terminate: bool, found: Recovery
) -> tuple[list[Any], bool]:
    try:
        reader, writer = await way.open(ANSWER_S)
    except OSError as error:
        raise MasterNotFound(f"No master answers at {way.label} ({error}), so no job can be recovered.") from error
    facts = {"protocol": wire.PROTOCOL, "oldest": wire.OLDEST_PROTOCOL, "release": _version.__version__}
    writer.write(wire.pack(("resume", dict(facts, token=token))))
    try:
        found.hear(await asyncio.wait_for(wire.read_frame(reader), ANSWER_S))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_listen(reader, found), timeout_s)
        if found.complete or terminate:
            writer.write(wire.pack(("settled",)))
            await writer.drain()
    except asyncio.IncompleteReadError as error:
        raise ClusterError(f"The master at {way.label} hung up during the recovery. Try again.") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return found.jobs(), found.complete or terminate


async def _listen(reader: asyncio.StreamReader, found: Recovery) -> None:
    while not found.complete:
        found.hear(await wire.read_frame(reader))
