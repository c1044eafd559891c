"""A link, in a loop that the test moves, and a receiver that writes down all it hears."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import msgpack

from octapi.protocol import orders, wire
from octapi.protocol.computation import SOURCE, Computation
from octapi.protocol.messages import plain
from octapi.protocol.news import LOST, Lost, News, Unreadable
from octapi.protocol.records import Outcome, outcomes
from octapi.protocol.specs import BatchSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.client.link import Link
    from octapi.protocol.outcome import WorkerInfo

WAIT_S = 60.0


class Recorder:
    """What a link calls, written down in its order."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.workers: dict[str, WorkerInfo] = {}
        self.lost: Exception | None = None

    def workers_changed(self, workers: dict[str, WorkerInfo]) -> None:
        self.workers = dict(workers)
        self.events.append(("workers", *sorted(workers)))

    def message(self, worker: str, said: News) -> None:
        assert not isinstance(said, Unreadable), said
        word = LOST if isinstance(said, Lost) else plain(said)[0]
        fields = [bytes(wire.buffer_of(part)) if isinstance(part, wire.Payload) else part for part in said]
        self.events.append(("message", worker, word, *fields))

    def link_lost(self, error: Exception) -> None:
        self.lost = error

    def complain(self, error: BaseException, where: str) -> None:
        raise AssertionError(where) from error

    def stop_jobs(self) -> None: ...
    def stop_job(self, ident: int) -> None: ...
    def set_pace(self, seconds: float) -> None: ...
    def set_others(self, others: int, placed: dict[int, str]) -> None: ...
    def retell(self) -> None: ...
    def master_renewed(self) -> None: ...


class Bench:
    """A link that has started."""

    def __init__(self, link: Link) -> None:
        self.loop = asyncio.new_event_loop()
        self.link = link
        self.heard = Recorder()
        self.loop.run_until_complete(link.start(self.heard))
        self._serial = 0
        self.is_closed = False

    def do(self, function: Callable[[], Any]) -> Any:
        """Call a function in the loop."""

        async def run() -> Any:
            return function()

        return self.loop.run_until_complete(run())

    def until(self, condition: Callable[[], Any]) -> Any:
        """Move the loop until a condition holds."""

        async def run() -> Any:
            async with asyncio.timeout(WAIT_S):
                while not (found := condition()):  # noqa: ASYNC110 (what it waits for are processes)
                    await asyncio.sleep(0.01)
                return found

        return self.loop.run_until_complete(run())

    def define(self, text: str, *, limits: dict[str, int] | None = None, **options: Any) -> str:
        """Define a computation whose function is ``f``, and return its digest."""
        computation = Computation(SOURCE, "f", text.encode(), "f", **options)
        digest = f"{computation.digest()}-{id(self)}"
        facts = {"limits": limits, "workers": None, "python": "", "name": "f"}
        self.do(lambda: self.link.define(digest, computation.to_bytes(), facts))  # type: ignore[arg-type]
        return digest

    def run(self, digest: str, *arguments: tuple[Any, ...], **more: Any) -> int:
        """Send a batch with one job for each of the arguments, and return its number."""
        self._serial += 1
        ident = self._serial
        data = msgpack.packb([pickle.dumps((args, {})) for args in arguments])
        spec = BatchSpec(form=wire.JOBS, data=wire.blob(data), jobs=len(arguments), worker=None)
        self.do(lambda: self.link.run(ident, 1, digest, spec | more))  # type: ignore[arg-type]
        return ident

    def tell(self, order: Any, worker: str | None = None) -> None:
        """Send an order."""
        self.do(lambda: self.link.tell(worker, order))

    def of(self, subject: int | str, *kinds: str) -> list[tuple[Any, ...]]:
        """Return what was said of a batch or a computation: kind, subject and the rest."""
        found = [event[2:] for event in self.heard.events if event[0] == "message" and event[3] == subject]
        return [message for message in found if not kinds or message[0] in kinds]

    def until_said(self, subject: int | str, *kinds: str) -> tuple[Any, ...]:
        """Wait for a message of a kind, and return the first."""
        found: tuple[Any, ...] = self.until(lambda: self.of(subject, *kinds))[0]
        return found

    def records(self, ident: int) -> list[Outcome]:
        """Return the outcomes of a batch so far."""
        return [record for message in self.of(ident, "results") for record in outcomes(message[2])]

    def values(self, ident: int) -> dict[int, Any]:
        """Return what the jobs of a batch have returned, by their place in it."""
        return {index: pickle.loads(data) if data else None for index, kind, data, *_ in self.records(ident)}

    def forget(self, digest: str) -> None:
        """Forget a computation on the worker that ran it, and wait until it is cleaned up there."""
        worker = next(
            event[1] for event in self.heard.events if event[0] == "message" and event[2:] == ("ready", digest)
        )
        self.tell(orders.Forget(digest), worker)
        self.until_said(digest, "closed")

    def close(self) -> None:
        """Close the link, and the loop."""
        if not self.is_closed:
            self.is_closed = True
            self.loop.run_until_complete(self.link.close())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()
