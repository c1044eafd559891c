"""The agent: takes batches, gives them to slots, and answers for every job in them.

    link ── define, run, cancel, recall, forget ──> Agent ── frames ──> slots
    link <── begun, results, end, event, ready, refused ── Agent <── records, deaths ── slots

The same agent serves a Dask worker and, on one computer alone, the client itself.  Messages are
tuples of plain values and bytes; the agent unpickles nothing.

Batches wait in one queue for each run, and a free slot takes from the run with the fewest slots.
A batch that waits or overstays is given back, so that it can go elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from octapi.dispatch.computation import Computation
from octapi.worker import directory, journal, slot
from octapi.worker.nursery import Child, Zygote, frames, sequence_of

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S = 0.1
#: a batch that is still running after this gives its jobs that have not started back, in seconds
OVERSTAY_S = 0.35
#: a batch that waited so long for a slot is given back, in seconds
WAIT_S = 0.5
#: between writing a limit and believing the current job, in seconds; see journal.py
SETTLE_S = 0.003
#: how soon to look again for a job that is to be stopped and has not started, in seconds
AGAIN_S = 0.05


class Batch:
    """A batch that the agent holds."""

    __slots__ = (
        "arrived", "child", "computation", "cut", "data", "extra", "form", "grouped", "ident", "jobs", "run",
        "seen", "skip", "started", "timeout_s", "budget_s",
    )  # fmt: skip

    def __init__(self, ident: Any, run: Any, computation: str, facts: dict[str, Any], now: float) -> None:
        self.ident = ident
        self.run = run
        self.computation = computation
        self.form: str = facts["form"]
        self.data: bytes = facts["data"]
        self.skip: int = facts.get("skip", 0)
        self.jobs: int = facts["jobs"]
        self.budget_s: float = facts.get("budget_s", 0.1)
        self.timeout_s: float | None = facts.get("timeout_s")
        self.extra: list[Any] = facts.get("extra") or []
        self.grouped: bool = facts.get("grouped", False)
        self.arrived = now
        self.started = 0.0
        self.seen = -1
        self.cut: int | None = None
        self.child: Child | None = None


class Known:
    """A computation that the agent holds."""

    def __init__(self, spec: bytes, facts: dict[str, Any]) -> None:
        self.spec = spec
        self.computation = Computation.from_bytes(spec)
        self.limit: int | None = facts.get("limit")
        self.setup_args: bytes = facts.get("setup_args") or self.computation.setup_args
        self.cradle: Zygote | None = None
        self.running = 0
        self.refused = ""
        self.ready = False

    @property
    def forks(self) -> bool:
        """Say whether its jobs are forked from a process that ran its setup."""
        return bool(self.computation.setup or self.computation.cleanup)


class Agent:
    """Slots of one device and the batches they work on."""

    def __init__(self, slots: int, names: dict[str, str], post: Callable[[tuple[Any, ...]], None]) -> None:
        self.slots = slots
        self.names = names
        self.post = post
        self.home = Path(tempfile.mkdtemp(prefix="octapi-"))
        self.zygote: Zygote | None = None
        self.idle: list[Child] = []
        self.children: set[Child] = set()
        self.queues: dict[Any, deque[Batch]] = {}
        self.batches: dict[Any, Batch] = {}
        self.known: dict[str, Known] = {}
        self.busy: dict[Any, int] = {}
        self.shared = 0
        self.forked = 0
        self.ticking: asyncio.TimerHandle | None = None
        self.closed = False
        self.loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Start the zygote and one slot; further slots are forked when there is work for them."""
        env = dict(os.environ, OCTAPI_SLOT_HOME=str(self.home), **self.names)
        self.zygote = Zygote.launch(self.names, self._ended, env)
        self.idle.append(self._spawn(self.zygote))
        self.shared += 1

    # ---- messages from the link

    def handle(self, message: tuple[Any, ...]) -> None:
        """Take one message."""
        getattr(self, f"on_{message[0]}")(*message[1:])

    def on_define(self, digest: str, spec: bytes, facts: dict[str, Any]) -> None:
        """Take a computation, or new limits and setup arguments for one."""
        known = self.known.get(digest)
        if known is None:
            self.known[digest] = known = Known(spec, facts)
            if known.forks:
                self._raise_cradle(digest, known)
            else:
                known.ready = True
                self.post(("ready", digest))
            return
        known.limit = facts.get("limit")
        known.setup_args = facts.get("setup_args") or known.setup_args
        self._feed()

    def on_run(self, ident: Any, run: Any, digest: str, facts: dict[str, Any]) -> None:
        """Take a batch."""
        batch = Batch(ident, run, digest, facts, self.loop.time())
        if digest not in self.known:
            return self.post(("end", ident, "returned", batch.skip, {}))
        self.batches[ident] = batch
        self.queues.setdefault(run, deque()).append(batch)
        self._feed()
        self._tick_soon()
        return None

    def on_cancel(self, ident: Any, index: int, grace_s: float) -> None:
        """Stop one job if it runs; unstarted jobs of its batch are given back so that it can be left out."""
        batch = self.batches.get(ident)
        if batch is None:
            return None
        if batch.child is None:
            return self.on_recall(ident)
        current = journal.index_of(batch.child.page.cells[journal.CURRENT], batch.child.serial)
        if current == index:
            self._stop(batch, index, grace_s, "cancelled")
        elif current is None or current < index:
            self._cut(batch)  # and if the slot reaches the job all the same, stop it there
            self.loop.call_later(AGAIN_S, self.on_cancel, ident, index, grace_s)
        return None

    def on_stop(self, ident: Any, grace_s: float) -> None:
        """Stop whatever runs of a batch, and give the rest back."""
        batch = self.batches.get(ident)
        if batch is None:
            return None
        if batch.child is None:
            return self.on_recall(ident)
        current = journal.index_of(batch.child.page.cells[journal.CURRENT], batch.child.serial)
        if current is not None:
            self._stop(batch, current, grace_s, "cancelled")
        self.loop.call_later(AGAIN_S, self.on_stop, ident, grace_s)
        return None

    def on_recall(self, ident: Any) -> None:
        """Give a batch back that has not started."""
        batch = self.batches.get(ident)
        if batch is not None and batch.child is None:
            self.queues[batch.run].remove(batch)
            self._finish(batch, "returned", batch.skip, {})

    def on_kill(self, run: Any) -> None:
        """Drop all batches of a run and stop its jobs: its client is gone."""
        for batch in [b for b in self.batches.values() if b.run == run]:
            if batch.child is None:
                self.queues[run].remove(batch)
                del self.batches[batch.ident]
            else:
                batch.child.killed_for = "dropped"
                batch.child.kill()

    def on_forget(self, digest: str) -> None:
        """Forget a computation: run its cleanup and remove its files."""
        known = self.known.pop(digest, None)
        if known is None:
            return
        if known.cradle is not None:
            known.cradle.cleanup()
        for child in self.children:
            child.send(("forget", digest))
        if not known.computation.keep_files:
            shutil.rmtree(self.home / directory.safe(known.computation.dest or digest), ignore_errors=True)
        self.post(("closed", digest))

    def on_renew(self, digest: str, facts: dict[str, Any]) -> None:
        """Run cleanup and then setup again, with new arguments."""
        known = self.known.get(digest)
        if known is None:
            return
        if known.cradle is not None:
            known.cradle.cleanup()
        spec = known.spec
        del self.known[digest]
        self.on_define(digest, spec, facts)

    # ---- cradles

    def _raise_cradle(self, digest: str, known: Known) -> None:
        assert self.zygote is not None
        known.cradle = self.zygote.cradle(digest, known.spec, known.setup_args)
        known.cradle.on_state = lambda cradle: self._cradle_state(digest, known, cradle)

    def _cradle_state(self, digest: str, known: Known, cradle: Zygote) -> None:
        if cradle.state == "ready":
            known.ready = True
            self.post(("ready", digest))
            self._feed()
        else:
            self._refuse(digest, known, cradle.text)

    def _refuse(self, digest: str, known: Known, text: str) -> None:
        known.refused = text
        self.post(("refused", digest, text))
        for batch in [b for b in self.batches.values() if b.computation == digest and b.child is None]:
            self.queues[batch.run].remove(batch)
            self._finish(batch, "refused", batch.skip, {"text": text})

    # ---- giving work to slots

    def _spawn(self, zygote: Zygote) -> Child:
        child = zygote.slot()
        self.children.add(child)
        child.reading = self.loop.create_task(frames(child, self._frame))
        child.reading.add_done_callback(lambda _: self._hung_up(child))
        return child

    def _feed(self) -> None:
        while not self.closed and (batch := self._next()) is not None:
            self.queues[batch.run].remove(batch)
            known = self.known[batch.computation]
            if known.forks:
                assert known.cradle is not None
                child = self._spawn(known.cradle)
                child.one_shot = True
                child.known.add(batch.computation)
                self.forked += 1
            else:
                child = self.idle.pop() if self.idle else self._new_slot()
            self._give(child, batch, known)

    def _new_slot(self) -> Child:
        assert self.zygote is not None
        self.shared += 1
        return self._spawn(self.zygote)

    def _next(self) -> Batch | None:
        if sum(self.busy.values()) >= self.slots:
            return None
        for run in sorted(self.queues, key=lambda run: self.busy.get(run, 0)):
            for batch in self.queues[run]:
                known = self.known.get(batch.computation)
                if known is not None and known.ready and (known.limit is None or known.running < known.limit):
                    return batch
        return None

    def _give(self, child: Child, batch: Batch, known: Known) -> None:
        child.serial += 1
        child.batch, batch.child = batch, child
        batch.started = self.loop.time()
        self.busy[batch.run] = self.busy.get(batch.run, 0) + 1
        known.running += 1
        if batch.computation not in child.known:
            child.known.add(batch.computation)
            child.send(("define", batch.computation, known.spec))
        budget = 0.0 if child.one_shot else batch.budget_s
        what = (batch.form, batch.data, batch.skip, budget, batch.extra, batch.grouped)
        child.send(("run", child.serial, batch.computation, *what))
        self.post(("begun", batch.ident, batch.skip))
        batch.seen = batch.skip
        if batch.timeout_s is not None:
            self.loop.call_later(batch.timeout_s, self._check_timeout, batch)

    # ---- frames from slots

    def _frame(self, child: Child, kind: int, body: bytes) -> None:
        batch: Batch | None = child.batch
        if kind == slot.SENDS_REFUSAL[0]:
            digest, text = msgpack.unpackb(body)
            child.known.discard(digest)
            if digest in self.known:
                self.known[digest].ready = False
                self._refuse(digest, self.known[digest], text)
            if batch is not None:
                child.killed_for = "refused"
        elif batch is None:
            return
        elif kind == slot.SENDS_RESULTS[0]:
            number, records = sequence_of(body)
            fresh = records[child.consumed :] if number == child.sequence else records
            child.sequence, child.consumed = number + 1, 0
            if fresh:
                self.post(("results", batch.ident, fresh))
        elif kind == slot.SENDS_GROUPS[0]:  # its bytes are not the journal's; what is told twice is ignored
            number, records = sequence_of(body)
            child.sequence, child.consumed = number + 1, 0
            self.post(("results", batch.ident, records))
        elif kind == slot.SENDS_EVENT[0]:
            index, what, *facts = msgpack.unpackb(body)
            self.post((what, batch.ident, index, *facts))
        elif kind == slot.SENDS_END[0]:
            self._ended_batch(child, batch, struct.unpack("<I", body)[0])

    def _ended_batch(self, child: Child, batch: Batch, stop: int) -> None:
        refused = child.killed_for == "refused"
        child.killed_for = ""
        stop = stop if batch.cut is None else min(stop, batch.cut)
        info = {"text": self.known[batch.computation].refused} if refused and batch.computation in self.known else {}
        reason = "refused" if refused else "done" if stop >= batch.jobs else "returned"
        self._release(child, batch)
        self._finish(batch, reason, stop, info)
        if child.one_shot or len(self.idle) >= self.slots:
            self._dismiss(child)
        else:
            self.idle.append(child)
        self._feed()

    def _release(self, child: Child, batch: Batch) -> None:
        child.batch = None
        left = self.busy.get(batch.run, 1) - 1
        if left:
            self.busy[batch.run] = left
        else:
            self.busy.pop(batch.run, None)
        known = self.known.get(batch.computation)
        if known is not None:
            known.running -= 1

    def _finish(self, batch: Batch, reason: str, stop: int, info: dict[str, Any]) -> None:
        self.batches.pop(batch.ident, None)
        queue = self.queues.get(batch.run)
        if queue is not None and not queue:
            del self.queues[batch.run]
        if batch.cut is not None and reason == "done":
            reason = "returned"
        self.post(("end", batch.ident, reason, stop, info))

    # ---- time limits, cuts and stops

    def _check_timeout(self, batch: Batch) -> None:
        child = batch.child
        if child is None or child.batch is not batch or batch.timeout_s is None:
            return
        index = journal.index_of(child.page.cells[journal.CURRENT], child.serial)
        ran = self._ran_s(child) if index is not None else 0.0
        if index is not None and ran >= batch.timeout_s:
            child.killed_for = "timeout"
            child.kill()
        else:
            self.loop.call_later(max(batch.timeout_s - ran, 0.01), self._check_timeout, batch)

    def _ran_s(self, child: Child) -> float:
        return time.time() - child.page.cells[journal.STARTED] / 1e9

    def _stop(self, batch: Batch, index: int, grace_s: float, why: str) -> None:
        child = batch.child
        assert child is not None
        child.page.cells[journal.INTERRUPT] = journal.place(child.serial, index)
        child.interrupt()
        self._cut(batch)

        def harder() -> None:
            here = journal.index_of(child.page.cells[journal.CURRENT], child.serial) if not child.closed else None
            if child.batch is batch and here == index:
                child.killed_for = why
                child.kill()

        self.loop.call_later(grace_s, harder)

    def _cut(self, batch: Batch) -> None:
        """Take the jobs back that have not started."""
        child = batch.child
        if child is None or batch.cut is not None:
            return
        index = journal.index_of(child.page.cells[journal.CURRENT], child.serial)
        if index is None or index + 1 >= batch.jobs:
            return
        child.page.cells[journal.LIMIT] = journal.place(child.serial, index + 1)
        self.loop.call_later(SETTLE_S, self._settle, batch, child, index)

    def _settle(self, batch: Batch, child: Child, index: int) -> None:
        if child.closed or child.batch is not batch or batch.cut is not None:
            return
        if journal.index_of(child.page.cells[journal.CURRENT], child.serial) != index:
            return
        batch.cut = index + 1
        self.post(("cut", batch.ident, index + 1))

    # ---- the tick: overstaying batches, results that wait behind a slow job

    def _tick_soon(self) -> None:
        if self.ticking is None and not self.closed:
            self.ticking = self.loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self.ticking = None
        now = self.loop.time()
        for batch in list(self.batches.values()):
            if batch.child is None:
                if now - batch.arrived > WAIT_S and self.known[batch.computation].ready and len(self.batches) > 1:
                    self.on_recall(batch.ident)
            else:
                self._look(batch, batch.child, now)
        if self.batches:
            self._tick_soon()

    def _look(self, batch: Batch, child: Child, now: float) -> None:
        index = journal.index_of(child.page.cells[journal.CURRENT], child.serial)
        if index is not None and index != batch.seen:
            batch.seen = index
            self.post(("begun", batch.ident, index))
        if now - batch.started > OVERSTAY_S and index is not None and self._ran_s(child) > OVERSTAY_S / 2:
            self._collect(batch, child)
            if batch.jobs - index > 1:
                self._cut(batch)

    def _collect(self, batch: Batch, child: Child) -> None:
        """Read the results that wait in the journal while a slow job runs."""
        if child.page.cells[journal.SEQUENCE] != child.sequence:
            return
        records = child.page.committed()[child.consumed :]
        if records:
            child.consumed += len(records)
            self.post(("results", batch.ident, records))

    # ---- ends of slots

    def _ended(self, child: Child) -> None:
        """The zygote reports that a slot's process has ended."""
        if child.reading is None or child.reading.done():
            self._bury(child)
        else:  # a process that the job left behind may hold the connection open
            self.loop.call_later(0.3, self._bury, child)

    def _hung_up(self, child: Child) -> None:
        if child.exit is not None:
            self._bury(child)

    def _bury(self, child: Child) -> None:
        if child.closed:
            return
        batch: Batch | None = child.batch
        words = child.last_words() if batch is not None else ""
        if batch is not None:
            self._autopsy(child, batch, words)
        self.children.discard(child)
        if child in self.idle:
            self.idle.remove(child)
        if child.one_shot:
            self.forked -= 1
        else:
            self.shared -= 1
        child.close()
        if not self.closed:
            self._feed()

    def _autopsy(self, child: Child, batch: Batch, words: str) -> None:
        """Keep the results of the finished jobs, blame the one that ran, give the others back."""
        self._collect(batch, child)
        index = journal.index_of(child.page.cells[journal.CURRENT], child.serial)
        assert child.exit is not None
        status, memory = child.exit
        info = {
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "memory": memory,
            "stderr": words,
            "why": child.killed_for,
            "ran_s": self._ran_s(child) if index is not None else 0.0,
        }
        self._release(child, batch)
        if child.killed_for == "dropped":
            self.batches.pop(batch.ident, None)
        elif index is None:
            self._finish(batch, "returned", batch.skip, info)
        else:
            self._finish(batch, "died", index, info)

    def _dismiss(self, child: Child) -> None:
        if child.writer is not None:
            child.writer.close()
        else:
            child.sock.close()

    def close(self) -> None:
        """Stop all slots at once."""
        self.closed = True
        if self.ticking is not None:
            self.ticking.cancel()
        for child in list(self.children):
            child.kill()
            if child.reading is not None:
                child.reading.cancel()
            child.close()
        self.children.clear()
        if self.zygote is not None:
            self.zygote.close()
        shutil.rmtree(self.home, ignore_errors=True)
