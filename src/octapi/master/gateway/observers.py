"""What happens at a master, told to all that keep account of it: counts, the page, the database and the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from octapi.errors import MessageRefused
from octapi.master.gateway.collector import MasterCollector
from octapi.master.gateway.subscriptions import Subscriptions
from octapi.master.gateway.trace_writer import TraceWriter
from octapi.store import workers as states

if TYPE_CHECKING:
    from octapi.master.gateway.access import Access
    from octapi.master.gateway.clients import Clients
    from octapi.master.gateway.placement import WorkerRecord
    from octapi.master.gateway.registry import RunRegistry
    from octapi.master.gateway.session import ClientSession
    from octapi.master.gateway.workers import Workers
    from octapi.protocol.specs import BatchSpec
    from octapi.protocol.worker_messages import OfBatch


log = logging.getLogger("octapi.master.gateway")


class Observers:
    """Gets every event of a gateway by a method of its own.  Nothing here decides what becomes of a job."""

    def __init__(self, registry: RunRegistry, clients: Clients, workers: Workers, access: Access) -> None:
        self.registry = registry
        self.meter = MasterCollector()
        self.trace_writer = TraceWriter(registry)
        self.subscriptions = Subscriptions(
            lambda: list(workers), lambda: list(clients), registry.now, access.may_read, log.warning
        )

    def close(self) -> None:
        """Write down what is left to be told."""
        self.subscriptions.close()
        self.trace_writer.close_all()

    # ---- workers

    def worker_joined(self, worker: WorkerRecord) -> None:
        """A worker has come."""
        self.subscriptions.event("joined", worker.name, f"{worker.slots} slots")
        log.info(f"{worker.name} joined from {worker.info['address']} with {worker.slots} slots.")
        self.registry.nodes.joined(worker.info, self.registry.now())

    def worker_left(self, worker: WorkerRecord, why: str) -> None:
        """A worker is gone, with all that it holds."""
        log.log(logging.WARNING if worker.is_silent else logging.INFO, f"{worker.name} left: {why}.")
        self.subscriptions.event("left", worker.name, why)
        self.meter.lost += len(worker.held)
        self.registry.nodes.went(worker.name, states.LOST, why, self.registry.now())

    def worker_refused(self, name: Any, why: str) -> None:
        """Who came as a worker may not be in."""
        self.meter.refused += 1
        log.warning(f"refused worker {name}: {why}")

    def message_refused(self, name: str, error: Exception) -> None:
        """A worker has said what makes no sense."""
        self.meter.refused += 1
        log.warning(f"refused a message of worker {name}: {type(error).__name__}: {error}")

    def worker_health(self, worker: WorkerRecord) -> None:
        """A worker has told how it is."""
        self.registry.nodes.health(worker.name, worker.info["health"], self.registry.now())

    # ---- runs

    def run_began(self, client: ClientSession) -> None:
        """A client has told of its first function."""
        self.subscriptions.event("began", client.run, str(client.facts.get("script") or ""))
        log.info(f"{described(client)} began.")

    def run_ended(self, client: ClientSession) -> None:
        """A client that was known will not come back."""
        self.subscriptions.ended(client)
        if client.summary.get("functions"):
            jobs, failed = (client.summary.get(key) or 0 for key in ("done", "failed"))
            text = f"{described(client)} ended: {jobs} jobs ended, {failed} of them failed."
            log.log(logging.WARNING if failed else logging.INFO, text)
        self.trace_writer.close(client.run)

    def run_told(self, client: ClientSession, news: Any) -> None:
        """A client tells what is new in its story; one that makes no sense is left out, for jobs matter more."""
        if news is None:
            return
        try:
            if isinstance(news, MessageRefused):
                raise news
            client.take_story(news)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            log.warning(f"a report of run {client.run} makes no sense ({type(error).__name__}: {error}).")
            return
        self.subscriptions.story(client, news)
        self.trace_writer.take(client.run, client.story)

    # ---- batches

    def batch_came(self, spec: BatchSpec) -> None:
        """A client has sent a batch."""
        self.meter.batch(spec)

    def batch_news(self, news: OfBatch) -> None:
        """A worker says something of a batch for the first time."""
        self.meter.news(news)


def described(client: ClientSession) -> str:
    """Name a run for the log; what its script says of itself is no one's to believe, so it is quoted."""
    script, user, host = (str(client.facts.get(key) or "?")[:80] for key in ("script", "user", "host"))
    return f"run {client.run} ({script!r} of {user!r} on {host!r})"
