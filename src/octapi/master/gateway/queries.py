"""What people ask of a master: who is in, what runs, what ran, and that something be stopped or emptied."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from octapi import _version
from octapi.protocol import client_messages as said
from octapi.protocol import orders, replies

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.master.gateway.access import Access
    from octapi.master.gateway.batches import Batches
    from octapi.master.gateway.clients import Clients
    from octapi.master.gateway.dask_use import DaskUse
    from octapi.master.gateway.registry import RunRegistry
    from octapi.master.gateway.session import ClientSession
    from octapi.master.gateway.sessions import Sessions
    from octapi.master.gateway.submissions import Submissions
    from octapi.master.gateway.workers import Workers


class Queries:
    """Answers questions; who asks is a :class:`~octapi.master.gateway.session.ClientSession` like any other."""

    def __init__(
        self,
        registry: RunRegistry,
        access: Access,
        clients: Clients,
        workers: Workers,
        sessions: Sessions,
        batches: Batches,
        submissions: Submissions,
        dask: DaskUse,
        metrics: Callable[[], str],
        courses: Callable[[list[str]], Any],
    ) -> None:
        self._registry = registry
        self._access = access
        self._clients = clients
        self._workers = workers
        self._sessions = sessions
        self._batches = batches
        self._submissions = submissions
        self._dask = dask
        self._metrics = metrics
        self._courses = courses
        #: the members of the cluster, as the authority knows them
        self.roster: list[dict[str, Any]] = []
        self._asked: set[asyncio.Task[None]] = set()

    def _standing(self) -> dict[str, Any]:
        """Return the cluster's time, and what is wrong with the master in words."""
        return {"time": self._registry.now(), "trouble": [self._registry.trouble] if self._registry.trouble else []}

    def jobs(self, client: ClientSession, _: said.Jobs) -> None:
        """Somebody asks which scripts run."""
        rows = [other.row() for other in self._clients if other.summary or other.is_detached]
        client.send(replies.Jobs(rows))

    def nodes(self, client: ClientSession, _: said.Nodes) -> None:
        """Somebody asks who is in, and how their certificates stand."""
        facts = {"workers": self._workers.rows(), "members": self.roster, "release": _version.__version__}
        seen = self._registry.last_seen(set(self._workers.by_name))
        client.send(replies.Nodes(facts | {"seen": seen} | self._standing()))

    def runs(self, client: ClientSession, question: said.Runs) -> None:
        """Somebody asks for the latest runs."""
        rows = [self._access.public(client, run) for run in self._registry.recent(question.limit)]
        client.send(replies.Runs({"runs": rows} | self._standing()))

    def metrics(self, client: ClientSession, _: said.Metrics) -> None:
        """Somebody asks for the metrics; the page does, for those who have its token."""
        client.send(replies.Metrics(self._metrics()))

    def manage(self, client: ClientSession, message: said.Manage) -> None:
        """Somebody submits a script, or asks for a run's output or its end."""
        asked = said.question(message.question)

        async def answer() -> None:
            try:
                found = await self._submissions.answer(client.peer, client.facts, asked)
            except Exception as error:  # whoever asks gets an answer, whatever it asks
                found = {"error": f"the question cannot be answered ({type(error).__name__}: {error})."}
            client.send(replies.Manage(found))

        task = asyncio.ensure_future(answer())
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    def courses(self, client: ClientSession, question: said.Courses) -> None:
        """Somebody asks for load and memory of workers over the last half hour."""
        client.send(replies.Courses(self._courses(question.workers)))

    def stop_job(self, client: ClientSession, wish: said.StopJob) -> None:
        """Somebody asks to stop the job of a batch that runs now."""
        found = self._clients.by_number.get(wish.client)
        is_here = found is not None and wish.ident in found.held and not found.is_away
        if found is not None and is_here:
            found.send(replies.StopJob(wish.ident))
        client.send(replies.StopJob(is_here))

    def stop(self, client: ClientSession, wish: said.Stop) -> None:
        """Somebody asks to stop the jobs of a script."""
        found = self._clients.by_number.get(wish.client)
        if found is not None:
            self._sessions.stop(found)
        client.send(replies.Stop(found is not None))

    def drain(self, client: ClientSession, wish: said.Drain) -> None:
        """Somebody asks that a worker take no more batches, or take some again; what runs there goes on."""
        worker = self._workers.by_name.get(wish.worker)
        if worker is not None:
            worker.is_draining = wish.is_on
            self._workers.draining[wish.worker] = worker.info["life"] if wish.is_on else ""
            for batch in list(worker.held.values()) if wish.is_on else ():
                self._workers.send(worker, orders.Recall(batch.key))
            self._dask.drain(worker)
            self._workers.changed()
            self._batches.place()
        client.send(replies.Drain({"found": worker is not None, "workers": sorted(self._workers.by_name)}))
