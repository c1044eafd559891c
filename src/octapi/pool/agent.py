"""The agent: takes batches, gives them to slots, and answers for every job in them.

    link ── define, run, cancel, recall, forget ──> Agent ── frames ──> slots
    link <── begun, results, end, event, ready, refused ── Agent <── records, deaths ── slots

The same agent serves a Dask worker and, on one computer alone, the client itself.  It hears
:mod:`octapi.protocol.orders` and says :mod:`octapi.protocol.worker_messages`; it unpickles nothing.

Batches wait in one queue for each run, and a free slot takes from the run with the fewest slots.
A batch that waits or overstays is given back, so that it can go elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from octapi.device import limits
from octapi.device.accounts import files_of
from octapi.errors import MessageRefused
from octapi.pool import recorder, shared_state, slot_end
from octapi.pool.batch import Batch
from octapi.pool.computations import Computations
from octapi.pool.exit_report import findings
from octapi.pool.forkserver_supervisor import ForkServerSupervisor
from octapi.pool.log import warn
from octapi.pool.processes import frames, sequence_of
from octapi.pool.watchdog import Watchdog, current, ran_s, reached
from octapi.protocol import orders, specs, wire
from octapi.protocol.exits import KilledFor, exit_phrase
from octapi.protocol.worker_messages import Begun, Dropped, End, Provisional, Ready, Results, SentFile
from octapi.telemetry.counters import JobCounters

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.device.accounts import Account
    from octapi.pool.computations import Known
    from octapi.pool.namespace import Namespace
    from octapi.pool.processes import ForkServerClient, SlotProcess
    from octapi.protocol.news import AgentNews
    from octapi.protocol.specs import BatchSpec
    from octapi.protocol.worker_messages import OfBatch

#: how soon to look again for a job that is to be stopped and has not started, in seconds
AGAIN_S = 0.05
#: what a frame of a slot may hold besides one result of the greatest size: other results, output, names, in bytes
FRAME = 128 << 20
#: how soon to try again to start a slot when this device has no more descriptors, in seconds
STARVED_S = 1.0


class Agent:
    """Slots of one device and the batches they work on."""

    def __init__(
        self,
        slots: int,
        namespace: Namespace,
        post: Callable[[AgentNews], None],
        account: Account | None = None,
        is_shared: bool = True,
    ) -> None:
        #: it works for several scripts, whose jobs must never share a process
        self.is_shared = is_shared
        self.slots = slots
        self.namespace = namespace
        self.post = post
        self.account = account
        self.home = Path(tempfile.mkdtemp(prefix="octapi-"))
        if account is not None:
            os.chown(self.home, account.uid, account.gid)
        self.root: ForkServerSupervisor | None = None
        self.idle: list[SlotProcess] = []
        self.children: set[SlotProcess] = set()
        self.queues: dict[Any, deque[Batch]] = {}
        self.batches: dict[Any, Batch] = {}
        self.computations = Computations(self)
        self.busy: dict[Any, int] = {}
        #: how many batches are here during which nothing else may run
        self.alone = 0
        self.closed = False
        #: why no job can run here at all, if so
        self.broken = ""
        #: nothing can be started now; it is tried again soon
        self.starves = False
        self._handlers: dict[type[Any], Callable[..., None]] = {
            orders.Define: self.on_define, orders.Renew: self.on_renew, orders.Forget: self.on_forget,
            orders.PutFile: self.on_file, orders.Run: self.on_run, orders.Cancel: self.on_cancel,
            orders.Stop: self.on_stop, orders.Recall: self.on_recall,
        }  # fmt: skip
        self.loop = asyncio.get_running_loop()
        self.watch = Watchdog(self)
        self.memory_kills = limits.MemoryKills()
        self.tally = JobCounters()

    def start(self) -> None:
        """Start the fork server and one slot; further slots are forked when there is work for them."""
        self.root = ForkServerSupervisor(self)
        self.idle.append(self._spawn(self.root.forkserver))

    # ---- messages from the link

    def handle(self, order: Any) -> None:
        """Take one of :mod:`octapi.protocol.orders`."""
        self._handlers[type(order)](*order)

    def on_define(self, digest: str, spec: wire.Blob, facts: dict[str, Any]) -> None:
        """Take a computation, or new limits and setup arguments for one."""
        self.computations.define(digest, bytes(wire.buffer_of(spec)), facts)
        self.feed()

    def on_renew(self, digest: str, facts: dict[str, Any]) -> None:
        """Run a computation's cleanup and then its setup again."""
        self.computations.renew(digest, facts)

    def on_forget(self, digest: str) -> None:
        """Forget a computation: run its cleanup and remove its files."""
        self.computations.forget(digest)

    def on_file(self, digest: str, row: list[Any]) -> None:
        """Put a file into a computation's directory."""
        self.computations.file(digest, row)

    def on_run(self, ident: Any, owner: Any, digest: str, spec: BatchSpec) -> None:
        """Take a batch."""
        try:
            spec = specs.batch(spec)
        except MessageRefused as error:
            return self.post(End(ident, "refused", 0, {"text": str(error), "is_batch": True}))
        batch = Batch(ident, owner, digest, spec, self.loop.time())
        known = self.computations.get(digest)
        if known is None and not self.computations.is_awaited(digest):
            return self.post(End(ident, "returned", batch.skip, {}))
        refused = self.broken or (known.refused if known is not None else "")
        if refused:
            return self.post(End(ident, "refused", batch.skip, {"text": refused}))
        self.batches[ident] = batch
        self.alone += batch.alone
        self.queues.setdefault(owner, deque()).append(batch)
        self.feed()
        self.watch.tick_soon()
        return None

    def is_ready(self, batch: Batch) -> bool:
        """Say whether a batch waits only for a slot, not for its computation's setup."""
        known = self.computations.get(batch.computation)
        return known.is_ready if known is not None else not self.computations.is_awaited(batch.computation)

    def on_cancel(self, ident: Any, index: int, grace_s: float) -> None:
        """Stop one job if it runs; unstarted jobs of its batch are given back so that it can be left out."""
        batch = self.batches.get(ident)
        if batch is None:
            return None
        if batch.child is None:
            return self.on_recall(ident)
        here = current(batch.child)
        if here == index:
            self.watch.stop(batch, batch.child, index, grace_s)
        elif here is None or here < index:
            self.watch.cut(batch)  # and if the slot reaches the job all the same, stop it there
            self.loop.call_later(AGAIN_S, self.on_cancel, ident, index, grace_s)
        return None

    def on_stop(self, ident: Any, grace_s: float) -> None:
        """Stop whatever runs of a batch, and give the rest back."""
        batch = self.batches.get(ident)
        if batch is None:
            return None
        if batch.child is None:
            return self.on_recall(ident)
        here = current(batch.child)
        if here is not None:
            self.watch.stop(batch, batch.child, here, grace_s)
        self.loop.call_later(AGAIN_S, self.on_stop, ident, grace_s)
        return None

    def on_recall(self, ident: Any) -> None:
        """Give a batch back that has not started."""
        batch = self.batches.get(ident)
        if batch is not None and batch.child is None:
            self.queues[batch.run].remove(batch)
            self._finish(batch, "returned", batch.skip, {})

    def recall_all(self, digest: str, reason: str = "returned", info: dict[str, Any] | None = None) -> None:
        """Give all batches of a computation back that have not started."""
        for batch in [b for b in self.batches.values() if b.computation == digest and b.child is None]:
            self.queues[batch.run].remove(batch)
            self._finish(batch, reason, batch.skip, info or {})

    def on_kill(self, run: Any) -> None:
        """Drop all batches of a run and stop its jobs: its client is gone."""
        for batch in [b for b in self.batches.values() if b.run == run]:
            self.drop(batch.ident)

    def drop(self, ident: Any) -> None:
        """Stop a batch that nobody waits for, and say nothing of it."""
        batch = self.batches.get(ident)
        if batch is None:
            return
        if batch.child is None:
            self.queues[batch.run].remove(batch)
            self._leave(batch)
        else:
            batch.is_dropped = True
            batch.child.kill_for(KilledFor.DROPPED)

    def tell(self, batch: Batch, news: OfBatch) -> None:
        """Say something of a batch, unless nobody waits for it."""
        if not batch.is_dropped:
            self.post(news)

    # ---- giving work to slots

    def _spawn(self, forkserver: ForkServerClient) -> SlotProcess:
        child = forkserver.slot()
        self.children.add(child)
        child.reading = self.loop.create_task(frames(child, self._frame, self.watch.memory.largest + FRAME))
        child.reading.add_done_callback(lambda _: self._hung_up(child))
        return child

    def feed(self) -> None:
        """Give batches to free slots."""
        while self._can_start() and (batch := self._next()) is not None:
            self.queues[batch.run].remove(batch)
            known = self.computations.known[batch.computation]
            try:
                child = self._slot_for(batch, known)
            except OSError as error:
                return self._starve(batch, error)
            self._give(child, batch, known)
        return None

    def _can_start(self) -> bool:
        return not (self.closed or self.starves or self.root is None or self.root.forkserver.exited)

    def _slot_for(self, batch: Batch, known: Known) -> SlotProcess:
        """Return a slot for a batch.  Raises OSError when this device has no more descriptors or processes."""
        assert self.root is not None
        origin = known.prepared_server if known.forks else self.root.forkserver
        assert origin is not None
        run = batch.run if self.is_shared else ""
        only = batch.computation if known.is_alone else ""
        child = choose(self.idle, origin, run, batch.computation, only)
        if child is None:
            child = self._spawn(origin)
        else:
            self.idle.remove(child)
        child.run, child.only = run, only
        if known.forks:
            child.known.add(batch.computation)
        return child

    def _starve(self, batch: Batch, error: OSError) -> None:
        """Let a batch wait until this device can start processes again."""
        self.queues.setdefault(batch.run, deque()).appendleft(batch)
        warn(f"no slot can be started ({error}); trying again.")
        self.starves = True
        self.loop.call_later(STARVED_S, self._try_again)

    def _try_again(self) -> None:
        self.starves = False
        self.feed()

    def break_down(self, text: str) -> None:
        """Refuse all jobs until a slot could be started: ``text`` says why."""
        self.broken = text
        for batch in [b for b in self.batches.values() if b.child is None]:
            self.queues[batch.run].remove(batch)
            self._finish(batch, "refused", batch.skip, {"text": text})

    def prove(self) -> None:
        """Start a slot to see whether that is possible again."""
        assert self.root is not None
        self.idle.append(self._spawn(self.root.forkserver))

    def serves(self) -> None:
        """Take jobs again: a slot was started."""
        if self.broken:
            self.broken = ""
            for digest, known in self.computations.known.items():
                if known.is_ready:
                    self.post(Ready(digest))

    def _next(self) -> Batch | None:
        if not self.queues:
            return None
        busy = sum(self.busy.values())
        if busy >= self.slots or (self.alone and busy):
            return None
        for run in sorted(self.queues, key=lambda run: self.busy.get(run, 0)):
            for batch in self.queues[run]:
                known = self.computations.get(batch.computation)
                if known is not None and known.takes_jobs and (batch.alone or not self.alone):
                    return batch
        return None

    def _give(self, child: SlotProcess, batch: Batch, known: Known) -> None:
        child.serial += 1
        child.batch, batch.child = batch, child
        batch.started = self.loop.time()
        self.busy[batch.run] = self.busy.get(batch.run, 0) + 1
        batch.known = known
        known.running += 1
        if batch.computation not in child.known:
            child.known.add(batch.computation)
            child.send(("define", batch.computation, wire.blob(known.spec)))
        what = (batch.form, batch.data, batch.skip, batch.budget_s, batch.extra, batch.grouped, batch.ids)
        child.send(("run", child.serial, batch.computation, *what))
        self.tell(batch, Begun(batch.ident, batch.skip))
        batch.seen = batch.skip
        self.watch.limit(batch)

    # ---- frames from slots

    def _frame(self, child: SlotProcess, kind: int, body: wire.Buffer) -> None:
        batch: Batch | None = child.batch
        if kind == recorder.SENDS_REFUSAL[0]:
            digest, text = recorder.REFUSAL(msgpack.unpackb(body))
            if digest not in child.known:  # forgotten meanwhile, or another run's, which is not its to refuse
                return
            child.known.discard(digest)
            known = self.computations.get(digest)
            if known is not None:
                self.computations.refuse(digest, known, text)
            if batch is not None:
                child.killed_for = slot_end.moved(child.killed_for, KilledFor.REFUSED)
        elif batch is None:
            return
        elif kind == recorder.SENDS_RESULTS[0]:
            number, fresh = sequence_of(body)
            fresh = fresh[child.consumed :] if number == child.sequence else fresh
            child.sequence, child.consumed = number + 1, 0
            if fresh:
                self.tell(batch, Results(batch.ident, wire.blob(fresh)))
        elif kind == recorder.SENDS_GROUPS[0]:  # its bytes are not the journal's; what is told twice is ignored
            number, fresh = sequence_of(body)
            child.sequence, child.consumed = number + 1, 0
            self.tell(batch, Results(batch.ident, wire.blob(fresh)))
        elif kind == recorder.SENDS_EVENT[0]:
            self.tell(batch, of_slot(batch, body))
        elif kind == recorder.SENDS_END[0]:
            (stop,) = struct.unpack("<I", body)
            self._ended_batch(child, batch, max(batch.skip, min(stop, batch.jobs)))
        else:
            raise MessageRefused(f"a frame of the unknown kind {kind}")

    def _ended_batch(self, child: SlotProcess, batch: Batch, stop: int) -> None:
        refused = child.killed_for is KilledFor.REFUSED
        child.killed_for = KilledFor.DROPPED if batch.is_dropped else KilledFor.NOTHING
        if batch.known is not None:
            batch.known.failed_loads = 0
        stop = stop if batch.cut is None else min(stop, batch.cut)
        self._release(child, batch)
        if batch.is_dropped:
            self._finish(batch, "dropped", stop, {})
        elif refused:
            known = self.computations.get(batch.computation)
            self._finish(batch, "refused", stop, {"text": known.refused if known is not None else ""})
        elif stop >= batch.jobs:
            self._finish(batch, "done", stop, {})
        else:
            self._finish(batch, "returned", stop, {})
        self._rest(child)
        self.feed()

    def _rest(self, child: SlotProcess) -> None:
        """Keep a slot for the next batch, in place of the one that has been idle for longest; or let it go."""
        if child.killed_for or (child.only and child.only not in child.known):
            return self._dismiss(child)
        if len(self.idle) >= self.slots:
            self._dismiss(self.idle.pop(0))
        return self.idle.append(child)

    def let_go(self, digest: str) -> None:
        """Let slots forget a computation; those that have nothing else to do for their run end with it."""
        for child in list(self.children):
            child.send(("forget", digest))
            child.known.discard(digest)
            if child in self.idle and (child.only == digest or (child.run and not child.known)):
                self.idle.remove(child)
                self._dismiss(child)

    def _release(self, child: SlotProcess, batch: Batch) -> None:
        child.batch = None
        batch.failed += max(0, min(child.new_failures(), batch.jobs))
        left = self.busy.get(batch.run, 1) - 1
        if left:
            self.busy[batch.run] = left
        else:
            self.busy.pop(batch.run, None)
        known, batch.known = batch.known, None
        if known is not None:
            known.running -= 1
            if not known.running:
                self.loop.call_soon(self.computations.rest, batch.computation, known)  # after its end is told

    def _leave(self, batch: Batch) -> None:
        if self.batches.pop(batch.ident, None) is not None:
            self.alone -= batch.alone
            batch.data = b""  # a timer may still know the batch

    def _finish(self, batch: Batch, reason: str, stop: int, info: dict[str, Any]) -> None:
        self._leave(batch)
        queue = self.queues.get(batch.run)
        if queue is not None and not queue:
            del self.queues[batch.run]
        if batch.cut is not None and reason == "done":
            reason = "returned"
        info = info | {"first": batch.first, "failed": batch.failed}
        self.tally.end(reason, stop, info)
        kind = Dropped if reason == "dropped" else End
        self.post(kind(batch.ident, reason, stop, info))

    # ---- ends of slots

    def ended(self, child: SlotProcess) -> None:
        """The fork server reports that a slot's process has ended."""
        if child.reading is None or child.reading.done():
            self._bury(child)
        else:  # a process that the job left behind may hold the connection open
            self.loop.call_later(0.3, self._bury, child)

    def _hung_up(self, child: SlotProcess) -> None:
        if child.exit is not None:
            self._bury(child)

    def _bury(self, child: SlotProcess) -> None:
        if child.closed:
            return
        batch: Batch | None = child.batch
        words = child.last_words() if batch is not None else ""
        if batch is not None and child.spawn_error is not None and not batch.is_dropped:
            self._release(child, batch)
            batch.child = None
            self._starve(batch, child.spawn_error)
        elif batch is not None:
            self._autopsy(child, batch, words)
        self.children.discard(child)
        if child in self.idle:
            self.idle.remove(child)
        child.close()
        if not self.closed:
            self.feed()

    def _autopsy(self, child: SlotProcess, batch: Batch, words: str) -> None:
        """Keep the results of the finished jobs, blame the one that ran, give the others back."""
        self.watch.collect(batch, child)
        index = current(child)
        info = findings(child, words, self.memory_kills.have_grown(), self.watch.memory.limit)
        info["ran_s"] = ran_s(child) if index is not None else 0.0
        self._release(child, batch)
        if batch.is_dropped:
            self._finish(batch, "dropped", reached(child, batch), info)
        elif index is None:
            self._lost_before(child, batch, info)
        else:
            self._finish(batch, "died", index, info)

    def _lost_before(self, child: SlotProcess, batch: Batch, info: dict[str, Any]) -> None:
        """Give a batch back whose slot died without a job, or refuse it: to load it again and again may never end."""
        has_begun = shared_state.index_of(child.page.cells[shared_state.ENDED], child.serial) is not None
        # the end of the process that forked it is nothing that the computation did
        is_innocent = has_begun or info["why"] in slot_end.ASKED or child.owner.exited
        text = "" if is_innocent else self.computations.died(batch.computation, exit_phrase(info))
        self._finish(batch, "refused" if text else "returned", batch.skip, info | {"text": text})

    def _dismiss(self, child: SlotProcess) -> None:
        if child.writer is not None:
            child.writer.close()
        elif child.reading is not None:
            child.reading.cancel()

    def close(self) -> None:
        """Stop all slots at once."""
        self.closed = True
        self.watch.close()
        for child in list(self.children):
            child.kill()
            if child.reading is not None:
                child.reading.cancel()
            child.close()
        self.children.clear()
        if self.root is not None:
            self.root.forkserver.close()
        with files_of(self.account):
            shutil.rmtree(self.home, ignore_errors=True)
        # the directory's own entry is in a place that the account cannot write
        shutil.rmtree(self.home, ignore_errors=True)


def of_slot(batch: Batch, body: wire.Buffer) -> Provisional | SentFile:
    """Return what a slot says of a job of its batch.  Raises :exc:`MessageRefused`, or what msgpack raises."""
    word, *facts = recorder.event(body, batch.jobs)
    return Provisional(batch.ident, *facts) if word == "provisional" else SentFile(batch.ident, *facts)


def choose(idle: list[SlotProcess], origin: ForkServerClient, run: Any, digest: str, only: str) -> SlotProcess | None:
    """Return which idle slot is to take a batch: none that has worked for another run, or for what is kept apart.

    ``origin`` is the process that it must descend from, ``only`` the computation's digest if that is kept apart.
    """
    fits = [
        child
        for child in idle
        if child.owner is origin
        and child.run in (None, run)
        and (child.only == only or (child.only == "" and not child.known))
    ]
    return max(fits, key=lambda child: (digest in child.known, child.run is not None), default=None)
