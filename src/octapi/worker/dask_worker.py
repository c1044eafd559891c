"""The process beside an agent that runs Dask's own tasks: one Dask worker with as many threads as slots."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from typing import IO, TYPE_CHECKING, Any, Final

import dask

from octapi.device.limits import be_first_to_die
from octapi.device.parent import die_with
from octapi.device.signals import until_signalled
from octapi.engine.dask_nodes import WORKER_SETTINGS, QuietWorker, answer_refusals, guarded, quiet_logs
from octapi.engine.guard import Guard
from octapi.protocol import stdio_json
from octapi.telemetry import logs
from octapi.trust import policy
from octapi.trust.contexts import Clock, Trust
from octapi.trust.identity import Identity

if TYPE_CHECKING:
    from distributed import Worker

log = logging.getLogger("octapi.worker")

#: how long Dask may take to say goodbye, in seconds
CLOSE_S = 2
PR_SET_DUMPABLE: Final = 4


def hide_memory() -> None:
    """Let no other process of this account read this one's memory, which will hold the worker's key.

    OctaPi's jobs run under the same account.  Raises OSError where the kernel refuses.
    """
    if sys.platform == "linux":
        import ctypes

        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "the memory of Dask's process cannot be hidden from jobs")


def guard_of(start: dict[str, Any]) -> Guard | None:
    """Return the rules of this process; None for a cluster without encryption."""
    if not start.get("identity"):
        return None
    clock = Clock()
    clock.set(start["time"])
    refused = start.get("removed", ())
    trust = Trust(Identity.from_json(start["identity"]), clock, refused, lambda text: log.warning(f"refused {text}"))
    guard = Guard(trust, policy.WORKER_SIDE)
    guard.scheduler = start["master"]
    return guard


def hear(guard: Guard, message: dict[str, Any]) -> None:
    """Take what the agent tells: news of trust, or a new certificate."""
    if "identity" in message:
        guard.trust.renew(Identity.from_json(message["identity"]))
        return
    guard.trust.clock.set(message["time"])
    removed = set(message["removed"])
    fresh, guard.trust.removed = removed - guard.trust.removed, removed
    guard.drop(fresh)
    guard.trust.accept(message["authorities"])


async def work(start: dict[str, Any], news: IO[bytes]) -> None:
    """Run Dask's tasks until the scheduler or the agent says that it is enough."""
    quiet_logs()
    logs.adopt("distributed")
    guard = guard_of(start)
    worker = QuietWorker(
        f"{guarded(guard)['protocol']}://{start['master']}",
        nthreads=start["nthreads"],
        name=start["name"],
        host=start["host"],
        port=start["port"],
        contact_address=start["contact"],
        local_directory=start["home"],
        memory_limit=0,
        dashboard=False,
        nanny=None,
        **guarded(guard),
    )
    if guard is not None:
        answer_refusals(worker)
        guard.knows_shuffle, guard.knows_actor = worker.knows_shuffle, worker.knows_actor
    async with worker:
        await until_over(worker, guard, news)
        closing = worker.close(timeout=CLOSE_S, executor_wait=False, nanny=False, reason="octapi-stopped")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closing, 2 * CLOSE_S)


async def until_over(worker: Worker, guard: Guard | None, news: IO[bytes]) -> None:
    """Wait until the scheduler closes the worker, a signal comes, or the agent hangs up."""

    def take(message: dict[str, Any]) -> None:
        if guard is not None:
            hear(guard, message)

    ends = [
        asyncio.create_task(until_signalled()),
        asyncio.create_task(worker.finished()),
        asyncio.create_task(stdio_json.follow(await stdio_json.stream(news), take)),
    ]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in ends:
        task.cancel()
    await asyncio.gather(*ends, return_exceptions=True)


def main() -> None:
    """Be the process, as the one on the other end of stdin says: ``python -m octapi.worker.dask_worker [apart]``."""
    if "apart" in sys.argv[1:]:
        hide_memory()  # before the key comes
    start = stdio_json.read_first()
    die_with(start["parent"])
    be_first_to_die()
    news = stdio_json.take_stdin()
    stdio_json.take_path(start)
    logs.set_up("octapi worker", logs.options_of(start), with_others=False)  # Dask's tasks log as they like
    with dask.config.set(WORKER_SETTINGS), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(work(start, news))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # Python would wait for the threads of tasks that are still running


if __name__ == "__main__":
    main()
