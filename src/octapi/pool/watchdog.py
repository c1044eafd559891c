"""Watching jobs as they run: time limits, stops, and batches that overstay.

It reads and writes the page that each slot shares with its agent; see :mod:`octapi.pool.shared_state`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from octapi.pool import shared_state
from octapi.pool.memory_guard import MemoryGuard, is_stopped
from octapi.protocol import wire
from octapi.protocol.exits import KilledFor
from octapi.protocol.worker_messages import Begun, Cut, Results

if TYPE_CHECKING:
    import asyncio

    from octapi.pool.agent import Agent
    from octapi.pool.batch import Batch
    from octapi.pool.processes import SlotProcess

TICK_S = 0.1
#: a batch that is still running after this gives its jobs that have not started back, in seconds
OVERSTAY_S = 0.35
#: a batch that waited so long for a slot is given back, in seconds
WAIT_S = 0.5
#: a slot that was stopped from outside for so long is killed, and how often slots are looked at for that, in seconds
STILL_S = 10.0
STILL_LOOK_S = 1.0
#: between writing a limit and believing the current job, in seconds; see journal.py
SETTLE_S = 0.003


def current(child: SlotProcess) -> int | None:
    """Return the index of the job that a slot runs, or None; what is no index of its batch counts as none."""
    index = None if child.closed else shared_state.index_of(child.page.cells[shared_state.CURRENT], child.serial)
    return index if index is None or child.batch is None or index < child.batch.jobs else None


def reached(child: SlotProcess, batch: Batch) -> int:
    """Return the first job of a batch that a slot has not finished, as far as its page tells."""
    index = current(child)
    if index is None and not child.closed:
        index = shared_state.index_of(child.page.cells[shared_state.ENDED], child.serial)
    return batch.skip if index is None else min(index, batch.jobs)


def ran_s(child: SlotProcess) -> float:
    """Return how long the current job of a slot has run, in seconds."""
    return time.monotonic() - child.page.cells[shared_state.STARTED] / 1e9


class Watchdog:
    """Looks at an agent's batches every tenth of a second while there are any."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._loop = agent.loop
        self._ticking: asyncio.TimerHandle | None = None
        self.memory = MemoryGuard(agent)
        self._next_look = 0.0
        #: slots that stand still, and since when
        self._still: dict[SlotProcess, float] = {}

    def tick_soon(self) -> None:
        """Go on watching."""
        if self._ticking is None and not self._agent.closed:
            self._ticking = self._loop.call_later(TICK_S, self._tick)

    def close(self) -> None:
        """Stop watching."""
        if self._ticking is not None:
            self._ticking.cancel()

    def _tick(self) -> None:
        self._ticking = None
        now = self._loop.time()
        batches = self._agent.batches
        for batch in list(batches.values()):
            if batch.child is not None:
                self._look(batch, batch.child, now)
            elif now - batch.arrived > WAIT_S and len(batches) > 1 and self._agent.is_ready(batch) and not batch.alone:
                self._agent.on_recall(batch.ident)
        self.memory.look(now)
        if now > self._next_look:
            self._next_look = now + STILL_LOOK_S
            self._look_for_still(now)
        if batches:
            self.tick_soon()

    def _look_for_still(self, now: float) -> None:
        """Kill slots that were stopped from outside and stay so: their jobs can run elsewhere."""
        busy = [child for child in self._agent.children if child.batch is not None and child.pid]
        self._still = {
            child: self._still.get(child, now)
            for child in busy
            if is_stopped(child.pid) or (child.job_pid and is_stopped(child.job_pid))
        }
        for child, since in self._still.items():
            if now - since > STILL_S and not child.killed_for:
                child.kill_for(KilledFor.FROZEN)

    def _look(self, batch: Batch, child: SlotProcess, now: float) -> None:
        index = current(child)
        if index is not None and index != batch.seen:
            batch.seen = index
            self._agent.tell(batch, Begun(batch.ident, index))
        if now - batch.started > OVERSTAY_S and index is not None and ran_s(child) > OVERSTAY_S / 2:
            self.collect(batch, child)
            if batch.jobs - index > 1:
                self.cut(batch)

    def collect(self, batch: Batch, child: SlotProcess) -> None:
        """Read the results that wait in the journal while a slow job runs."""
        if child.page.cells[shared_state.SEQUENCE] != child.sequence:
            return
        records = child.page.committed()[child.consumed :]
        if records:
            child.consumed += len(records)
            self._agent.tell(batch, Results(batch.ident, wire.blob(records)))

    # ---- time limits

    def limit(self, batch: Batch) -> None:
        """Stop the batch's jobs that run longer than its time limit."""
        if batch.timeout_s is not None:
            self._loop.call_later(batch.timeout_s, self._check, batch)

    def _check(self, batch: Batch) -> None:
        child = batch.child
        if child is None or child.batch is not batch or batch.timeout_s is None:
            return
        ran = ran_s(child) if current(child) is not None else 0.0
        if ran >= batch.timeout_s:
            child.kill_for(KilledFor.TIMEOUT)
        else:
            self._loop.call_later(max(batch.timeout_s - ran, 0.01), self._check, batch)

    # ---- stops and cuts

    def stop(self, batch: Batch, child: SlotProcess, index: int, grace_s: float) -> None:
        """Interrupt job ``index`` that runs now, and kill its process if it still runs ``grace_s`` later."""
        if batch.stopping == index:
            return
        batch.stopping = index
        child.page.cells[shared_state.INTERRUPT] = shared_state.place(child.serial, index)
        child.interrupt()
        self.cut(batch)

        def harder() -> None:
            if child.batch is batch and current(child) == index:
                child.kill_for(KilledFor.CANCELLED)

        self._loop.call_later(grace_s, harder)

    def cut(self, batch: Batch) -> None:
        """Take the jobs back that have not started."""
        child = batch.child
        if child is None or batch.cut is not None:
            return
        index = current(child)
        if index is None or index + 1 >= batch.jobs:
            return
        child.page.cells[shared_state.LIMIT] = shared_state.place(child.serial, index + 1)
        self._loop.call_later(SETTLE_S, self._settle, batch, child, index)

    def _settle(self, batch: Batch, child: SlotProcess, index: int) -> None:
        if child.closed or child.batch is not batch or batch.cut is not None or current(child) != index:
            return
        batch.cut = index + 1
        self._agent.tell(batch, Cut(batch.ident, index + 1))
