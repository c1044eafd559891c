"""The relay in somebody's Dask scheduler: it carries messages between one script and the pools beside the workers.

Messages travel on the connections that Dask has anyway, so they keep their order, and reach whoever Dask reaches: also
through proxies and gateways.  The relay reads none of them.  It ends with its script, and ends the pools with it.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from distributed import SchedulerPlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from distributed.batched import BatchedSend
    from distributed.scheduler import Scheduler, WorkerState

log = logging.getLogger("octapi.dask_plugins")

#: operations on Dask's streams: script to relay, relay to pool, pool to relay, relay to script
FOR_RELAY: Final = "octapi-for-relay"
FOR_POOL: Final = "octapi-for-pool"
FROM_POOL: Final = "octapi-from-pool"
FOR_SCRIPT: Final = "octapi-for-script"
#: what the relay says itself of workers: they joined, they left
JOINED: Final = "joined"
LEFT: Final = "left"
#: what stands before the time in Dask's word for a worker whose connection broke
BROKEN: Final = ("handle-worker-cleanup", "worker-send-comm-fail")
#: how many sent messages Dask keeps for its debugger; ours hold whole batches
KEPT: Final = 4


class Relay(SchedulerPlugin):  # type: ignore[misc]
    """One script's way through a scheduler.  ``name`` is the plugin's, ``client`` the script's client of Dask."""

    def __init__(self, name: str, client: str) -> None:
        self.name = name
        self.client = client
        #: how many jobs could run at once if there were slots
        self.wanted = 0
        #: how many batches the pools hold, by their worker's address
        self.pools: dict[str, int] = {}

    def start(self, scheduler: Scheduler) -> None:
        """Begin to carry messages, and name the workers there are."""
        handlers: dict[str, Callable[..., None]] = {FOR_RELAY: from_script, FROM_POOL: from_pool}
        for op, handler in handlers.items():
            scheduler.stream_handlers[op] = partial(handler, scheduler)
        widen_target(scheduler)
        trim(scheduler.client_comms.get(self.client))
        for address in scheduler.workers:
            self.add_worker(scheduler, address)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Tell the script that a worker has come."""
        self._say(scheduler, worker, JOINED, str(scheduler.workers[worker].name))

    def remove_worker(self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **_: Any) -> None:
        """Tell the script that a worker has gone, and whether its connection broke unasked."""
        self.pools.pop(worker, None)
        self._say(scheduler, worker, LEFT, is_broken(stimulus_id))

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """End with the script, however it ended."""
        if client == self.client:
            self.to_pools(scheduler, list(self.pools), None)
            scheduler.remove_plugin(name=self.name)

    def valid_workers_downscaling(self, _: Scheduler, workers: list[WorkerState]) -> list[WorkerState]:
        """Keep the workers whose pools have batches."""
        return [worker for worker in workers if not self.pools.get(worker.address)]

    def to_pools(self, scheduler: Scheduler, workers: Iterable[str], body: bytes | None) -> None:
        """Carry a message to the pools beside these workers, so far as they are there; None ends them."""
        for worker in workers:
            if worker in self.pools and worker in scheduler.stream_comms:
                scheduler.worker_send(worker, {"op": FOR_POOL, "name": self.name, "body": body})

    def from_pool(self, scheduler: Scheduler, worker: str, held: int, body: bytes) -> None:
        """Carry a message of a pool, that holds so many batches."""
        if worker in scheduler.workers:
            if worker not in self.pools:
                trim(scheduler.stream_comms.get(worker))
            self.pools[worker] = held
            self._say(scheduler, worker, "", body)

    def _say(self, scheduler: Scheduler, worker: str, event: str, body: Any) -> None:
        scheduler.client_send(self.client, {"op": FOR_SCRIPT, "worker": worker, "event": event, "body": body})


def from_script(
    scheduler: Scheduler,
    name: str,
    client: str,
    workers: Iterable[str] = (),
    body: bytes | None = None,
    wanted: int | None = None,
) -> None:
    """Take what a script says to its relay: a message for pools, or how many slots it could use."""
    relay = scheduler.plugins.get(name)
    if not isinstance(relay, Relay) or relay.client != client:
        return
    if wanted is not None:
        relay.wanted = wanted
    for worker in workers:  # before they say so themselves, so that none of them is retired meanwhile
        if worker in relay.pools:
            relay.pools[worker] = max(relay.pools[worker], 1)
    relay.to_pools(scheduler, workers, body)


def from_pool(scheduler: Scheduler, name: str, worker: str, held: int, body: bytes) -> None:
    """Take what a pool says to its script."""
    relay = scheduler.plugins.get(name)
    if isinstance(relay, Relay):
        relay.from_pool(scheduler, worker, held, body)


def is_broken(stimulus: str) -> bool:
    """Say whether Dask's word for the end of a worker means that its connection broke unasked."""
    return stimulus.startswith(BROKEN)


def trim(stream: BatchedSend | None) -> None:
    """Let Dask's debugger keep few of the messages that went over a stream."""
    if stream is not None:
        stream.recent_message_log = deque(stream.recent_message_log, maxlen=KEPT)


# ---- adaptive clusters


def widen_target(scheduler: Scheduler) -> None:
    """Let adaptive clusters count our jobs when they decide how many workers they want."""
    asked = scheduler.handlers["adaptive_target"]
    if getattr(asked, "func", None) is not adaptive_target:

        def answer(target_duration: float | None = None) -> int:
            return adaptive_target(scheduler, asked, target_duration=target_duration)

        answer.func = adaptive_target  # type: ignore[attr-defined]
        scheduler.handlers["adaptive_target"] = answer


def adaptive_target(scheduler: Scheduler, asked: Callable[..., int], **how: Any) -> int:
    """Return how many workers Dask's tasks and our jobs could use."""
    wanted = sum(plugin.wanted for plugin in scheduler.plugins.values() if isinstance(plugin, Relay))
    threads = [worker.nthreads for worker in scheduler.workers.values()]
    return max(asked(**how), workers_for(wanted, threads))


def workers_for(wanted: int, threads: list[int]) -> int:
    """Return how many workers have so many slots, if they are like those with these numbers of threads."""
    return math.ceil(wanted * len(threads) / max(sum(threads), 1)) if threads else wanted
