"""What people ask the gateway: who is in, what runs, what ran, and that something be stopped."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from octapi import _version
from octapi.master.gateway import client_messages
from octapi.master.gateway.submissions import Submissions
from octapi.master.gateway.subscriptions import Subscriptions
from octapi.master.gateway.trace_writer import TraceWriter

if TYPE_CHECKING:
    from octapi.engine.dask_comm import Guard
    from octapi.master.gateway.placement import WorkerRecord
    from octapi.master.gateway.registry import RunRegistry
    from octapi.master.gateway.session import ClientSession
    from octapi.store.runs import Run

log = logging.getLogger("octapi.master.gateway")


class Queries:
    """Answers questions; who asks is a :class:`~octapi.master.gateway.session.ClientSession` like any other."""

    guard: Guard | None
    roster: list[dict[str, Any]]
    agents: dict[str, WorkerRecord]

    def __init__(self, book: RunRegistry) -> None:
        self.book = book
        self.clients: dict[int, ClientSession] = {}
        self.submissions = Submissions(book, self._end_run, self._stop_run)
        self.trace_writer = TraceWriter(book)
        #: the idents that see everything of every run; None where all do, in the cluster of one script
        self.viewers: set[str] | None = None
        self.watching = Subscriptions(
            lambda: list(self.agents.values()), lambda: list(self.clients.values()), self.now, self.may_read,
            log.warning,
        )  # fmt: skip
        self._asked: set[asyncio.Task[None]] = set()

    # ---- what the rest of the gateway does

    def rows(self) -> list[dict[str, Any]]:
        """Return the workers as clients read them."""
        raise NotImplementedError

    def end(self, client: ClientSession) -> None:
        """Forget a client and stop its jobs."""
        raise NotImplementedError

    # ---- answers

    def now(self) -> float:
        """Return the cluster's time in epoch seconds."""
        return time.time() if self.guard is None else self.guard.trust.clock.now()

    def standing(self) -> dict[str, Any]:
        """Return the cluster's time, and what is wrong with the master in words."""
        return {"time": self.now(), "trouble": [self.book.trouble] if self.book.trouble else []}

    def client_jobs(self, client: ClientSession) -> None:
        """Somebody asks which scripts run."""
        client.send("jobs", [other.row() for other in self.clients.values() if other.summary or other.is_detached])

    def client_nodes(self, client: ClientSession) -> None:
        """Somebody asks who is in, and how their certificates stand."""
        facts = {"workers": self.rows(), "members": self.roster, "release": _version.__version__}
        client.send("nodes", facts | {"seen": self.book.last_seen(set(self.agents))} | self.standing())

    def client_runs(self, client: ClientSession, limit: int = 100) -> None:
        """Somebody asks for the latest runs."""
        rows = [self._public(client, run) for run in self.book.recent(min(int(limit), 10_000))]
        client.send("runs", {"runs": rows} | self.standing())

    def _public(self, client: ClientSession, run: Run) -> dict[str, Any]:
        """Describe a run for a client: its arguments, which may be passwords, as its output only to those who may."""
        may = client.peer is None or client.peer.ident in (self.viewers or ()) or self.submissions.may(run, client.peer)
        return run.public() if may else run.public() | {"arguments": []}

    def client_manage(self, client: ClientSession, question: dict[str, Any]) -> None:
        """Somebody submits a script, or asks for a run's output or its end."""
        asked = client_messages.question(question)

        async def answer() -> None:
            try:
                found = await self.submissions.answer(client.peer, client.facts, asked)
            except Exception as error:  # whoever asks gets an answer, whatever it asks
                found = {"error": f"the question cannot be answered ({type(error).__name__}: {error})."}
            client.send("manage", found)

        task = asyncio.ensure_future(answer())
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    def client_watch(self, client: ClientSession, wanted: bool) -> None:
        """Somebody wants to see what happens, or does not any more."""
        if wanted:
            self.watching.add(client)
        else:
            self.watching.remove(client)

    def may_read(self, client: ClientSession, run: str) -> bool:
        """Say whether a watcher may read what a run printed, its arguments and its tracebacks."""
        if client.peer is None or self.viewers is None or client.peer.ident in self.viewers:
            return True
        found = self.book.find(run)
        return found is not None and self.submissions.may(found, client.peer)

    def take_story(self, client: ClientSession, news: Any) -> None:
        """Take what is new in a client's story; one that makes no sense is left out, for jobs matter more."""
        if news is None:
            return
        try:
            news = client_messages.STORY(news)
            client.take_story(news)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            log.warning(f"a report of run {client.run} makes no sense ({type(error).__name__}: {error}).")
            return
        self.watching.story(client, news)
        self.trace_writer.take(client.run, client.story)

    def client_stop_job(self, client: ClientSession, number: int, ident: int) -> None:
        """Somebody asks to stop the job of a batch that runs now."""
        found = self.clients.get(number)
        is_here = found is not None and ident in found.held and not found.is_away
        if found is not None and is_here:
            found.send("stop_job", ident)
        client.send("stop_job", is_here)

    def client_stop(self, client: ClientSession, number: int) -> None:
        """Somebody asks to stop the jobs of a script."""
        found = self.clients.get(number)
        if found is not None:
            self._stop(found)
        client.send("stop", found is not None)

    def _stop(self, client: ClientSession) -> None:
        client.send("stop")
        if client.is_run:
            self.book.client_event(client.run, "stop")
        if client.writer is None:
            self.end(client)

    def _stop_run(self, run: str) -> bool:
        """Stop the jobs of a script that runs elsewhere; say whether there were any."""
        found = [client for client in self.clients.values() if client.run == run and client.is_run]
        for client in found:
            self._stop(client)
        return bool(found)

    def _end_run(self, run: str) -> None:
        """Stop what a submitted script left behind."""
        for client in [client for client in self.clients.values() if client.run == run]:
            client.said_bye = True
            if client.writer is None:
                self.end(client)
