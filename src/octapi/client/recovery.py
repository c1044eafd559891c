"""Asking a master for what it kept of clients that went away without a word."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from octapi.client.endpoint import MasterEndpoint, refused
from octapi.client.master_rpc import MasterRpc
from octapi.client.remote import hello
from octapi.errors import BatchRefused, ClusterError, JobCrashed, WorkerLost
from octapi.protocol import outcome, wire
from octapi.protocol.client_messages import Fetch, Settled
from octapi.protocol.exits import exit_phrase
from octapi.protocol.outcome import Extra, WorkerInfo
from octapi.protocol.records import outcomes
from octapi.text.stderr import say

#: how long to wait for the master's first answer, in seconds
ANSWER_S = 10.0
LOST = "Its worker went away while it had the job."


class Recovered(NamedTuple):
    """One job's outcome as it was found: ``kind`` says what ``data`` is a pickle of; times are epoch seconds."""

    function: str
    kind: int
    data: wire.Buffer
    started: float
    ended: float
    worker: WorkerInfo | None
    extra: Extra | None


Make = Callable[[Recovered], Any]


class Recovery:
    """Gathers the outcomes of other clients' batches."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._workers: dict[str, WorkerInfo] = {}
        self._found: dict[tuple[int, int, int], Any] = {}
        self._part = 0
        self._names: dict[int, str] = {}
        self.complete = False

    def jobs(self) -> list[Any]:
        """Return what was made of the outcomes, in the order of submission."""
        return [self._found[key] for key in sorted(self._found)]

    def hear(self, message: Any) -> None:
        """Take one message of the master.  Raises what its refusal says."""
        kind, *rest = message
        if kind == "refused":
            raise refused(rest[0], "this address")
        if kind in ("recovered", "workers"):
            rows = rest[0]["workers"] if kind == "recovered" else rest[0]
            self._workers.update({row["name"]: WorkerInfo(**row) for row in rows})
        elif kind == "part":
            self._part, self._names = rest[0], rest[1]
        elif kind == "complete":
            self.complete = True
        elif kind == "agent":
            try:
                self._agent(rest[0], *rest[1])
            except BatchRefused as error:  # the other workers' outcomes are none the worse for it
                say(f"octapi: outcomes of jobs that {rest[0]} ran are left out: {error}")

    def _agent(self, worker: str, kind: str, ident: Any, *rest: Any) -> None:
        if kind == "results":
            for index, what, data, started, ran, extra in outcomes(rest[0]):
                times = (started, started + ran)
                if what == outcome.GROUP:  # plain values of consecutive items
                    for place, value in enumerate(pickle.loads(data), index):
                        self._add(worker, ident, place, outcome.VALUE, pickle.dumps(value), times, None)
                else:
                    self._add(worker, ident, index, what, data, times, extra)
        elif kind == "end" and rest[0] == "died":
            info = rest[2]
            error = JobCrashed(f"Its process {exit_phrase(info)} after {info.get('ran_s', 0.0):.1f} s.", worker=worker)
            self._fault(ident, rest[1], error, worker)
        elif kind == "lost":
            for index in range(rest[0]):
                self._fault(ident, index, WorkerLost(rest[1] if rest[1:] else LOST), worker)

    def _fault(self, ident: int, index: int, error: Exception, worker: str) -> None:
        now = time.time()
        self._add(worker, ident, index, outcome.FAULT, pickle.dumps(error), (now, now), None)

    def _add(
        self,
        worker: str,
        ident: int,
        index: int,
        kind: int,
        data: wire.Buffer,
        times: tuple[float, float],
        extra: Extra | None,
    ) -> None:
        key = (self._part, ident, index)
        if key not in self._found:
            name = self._names.get(ident, "")
            self._found[key] = self._make(Recovered(name, kind, data, *times, self._workers.get(worker), extra))


def nothing(_: list[Any]) -> None:
    """Do nothing with what was found."""


def recover(
    way: MasterEndpoint,
    wanted: dict[str, str],
    timeout_s: float | None,
    terminate: bool,
    make: Make,
    take: Callable[[list[Any]], None] = nothing,
) -> tuple[list[Any], bool]:
    """Wait for the jobs of the clients that are ``wanted``; return ``make(...)`` of each outcome, and whether all came.

    ``wanted`` has a ``run``, or the ``token`` of one client.  ``timeout_s`` bounds the wait; with ``terminate`` what
    still runs then is stopped.  ``take`` gets the outcomes before the master is told to forget them; if it raises, the
    master keeps them.
    Raises :exc:`MasterNotFound`, or :exc:`ClusterError` when there is nothing, or nothing that this login may have.
    """
    return asyncio.run(_recover(way, wanted, timeout_s, terminate, Recovery(make), take))


async def _recover(
    way: MasterEndpoint,
    wanted: dict[str, str],
    timeout_s: float | None,
    terminate: bool,
    found: Recovery,
    take: Callable[[list[Any]], None],
) -> tuple[list[Any], bool]:
    async with MasterRpc(way, ANSWER_S, hello()) as master:
        try:
            master.say(Fetch(wanted))
            while (message := await asyncio.wait_for(master.hear(), ANSWER_S))[0] not in ("recovered", "refused"):
                pass
            found.hear(message)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_listen(master, found), timeout_s)
            take(found.jobs())
            if found.complete or terminate:
                master.say(Settled())
        except (asyncio.IncompleteReadError, OSError) as error:
            raise ClusterError(f"The master at {way.label} hung up during the recovery. Try again.") from error
    return found.jobs(), found.complete or terminate


async def _listen(master: MasterRpc, found: Recovery) -> None:
    while not found.complete:
        found.hear(await master.hear())
