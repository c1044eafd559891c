"""The computations that an agent knows: their setup, their files, their cleanup.

A computation is left or renewed only when none of its jobs runs on this worker.
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

from octapi.device.accounts import files_of
from octapi.errors import JobError, MessageRefused
from octapi.pool import job_directory
from octapi.pool.computation_state import LEAVING, Event, State, may, moved
from octapi.pool.log import warn
from octapi.protocol.computation import Computation, File, safe
from octapi.protocol.specs import FILE, own_facts
from octapi.protocol.worker_messages import Closed, Ready, Refused

if TYPE_CHECKING:
    from pathlib import Path

    from octapi.pool.agent import Agent
    from octapi.pool.processes import ForkServerClient

#: how soon a setup whose process could not be started, or has died, runs again, in seconds
AGAIN_S = 1.0
#: after how many slots that died while they loaded a computation it is refused
LOADS = 3


class Known:
    """One computation.  ``limit`` is the most jobs of it at once on this worker, or None.

    Raises :exc:`MessageRefused` for a specification that is none.
    """

    def __init__(self, spec: bytes, facts: dict[str, Any]) -> None:
        self.spec = spec
        self.computation = Computation.from_bytes(spec)
        self.limit: int | None = facts.get("limit")
        self.setup_args: bytes = facts.get("setup_args") or self.computation.setup_args
        self.prepared_server: ForkServerClient | None = None
        self.running = 0
        self.refused = ""
        #: how many slots in a row have died before a first job of it ran
        self.failed_loads = 0
        #: its files are not there: what its client sends again begins it anew
        self.is_broken = False
        self.state = State.SETTING_UP
        #: what it is to begin anew with
        self.renewal: dict[str, Any] = {}
        #: what it is to be defined as once it is cleaned up
        self.successor: tuple[bytes, dict[str, Any]] | None = None

    @property
    def forks(self) -> bool:
        """Say whether its jobs are forked from a process that ran its setup."""
        return bool(self.computation.setup or self.computation.cleanup or self.computation.forked)

    @property
    def is_alone(self) -> bool:
        """Say whether its slots work for nothing else: it brings modules, files or a setup of its own."""
        return self.forks or bool(self.computation.files)

    @property
    def takes_jobs(self) -> bool:
        """Say whether one more of its jobs may start now."""
        return self.is_ready and (self.limit is None or self.running < self.limit)

    @property
    def is_ready(self) -> bool:
        """Say whether it is set up."""
        return self.state is State.READY

    @property
    def is_leaving(self) -> bool:
        """Say whether it takes no more batches."""
        return self.state in LEAVING

    def take(self, event: Event) -> bool:
        """Take what happened to it; say whether that may happen as it stands."""
        before, self.state = self.state, moved(self.state, event)
        return may(before, event)


class Computations:
    """All computations of one agent, by digest."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.known: dict[str, Known] = {}

    def get(self, digest: str) -> Known | None:
        """Return a computation that takes batches."""
        known = self.known.get(digest)
        return None if known is None or known.is_leaving else known

    def is_awaited(self, digest: str) -> bool:
        """Say whether a computation is cleaned up here and then begins anew."""
        known = self.known.get(digest)
        return known is not None and known.successor is not None

    def place(self, known: Known, digest: str) -> Path:
        """Return the directory of a computation on this worker."""
        return self._agent.home / safe(known.computation.dest or digest)

    def define(self, digest: str, spec: bytes, facts: dict[str, Any]) -> None:
        """Take a computation, or new limits, files and setup arguments for one."""
        known = self.known.get(digest)
        try:
            fresh = Known(spec, own_facts(facts))
        except MessageRefused as error:
            return self._agent.post(Refused(digest, f"What was sent of it cannot be used: {error}"))
        if known is None:
            return self._begin(digest, fresh, facts)
        if known.is_leaving or known.is_broken:
            known.successor = spec, facts
            return None if known.is_leaving else self._leave(digest, known)
        known.limit = facts.get("limit")
        self._write(known, digest, facts.get("files") or ())
        if known.limit == 0:
            self._agent.recall_all(digest)
        return None

    def _begin(self, digest: str, known: Known, facts: dict[str, Any]) -> None:
        self.known[digest] = known
        if not self._write(known, digest, facts.get("files") or ()):
            return
        if known.forks:
            self._start_prepared(digest, known)
        else:
            known.take(Event.SET_UP)
            self._agent.post(Ready(digest))

    def file(self, digest: str, row: list[Any]) -> None:
        """Put one more file into a computation's directory."""
        try:
            row = FILE(row)
        except MessageRefused as error:
            return warn(f"a file that came for {digest} cannot be used: {error}.")
        known = self.known.get(digest)
        if known is not None and known.successor is not None:
            spec, facts = known.successor
            known.successor = spec, facts | {"files": [*(facts.get("files") or ()), row]}
        elif known is not None and not known.is_leaving:
            self._write(known, digest, (row,))
        return None

    def _write(self, known: Known, digest: str, rows: Any) -> bool:
        """Write files into a computation's directory; one whose files cannot be written is refused."""
        try:
            with files_of(self._agent.account):
                for row in rows:
                    target = self.place(known, digest)
                    target.mkdir(parents=True, exist_ok=True)
                    job_directory.write(target, File(*row))
        except (OSError, JobError) as error:
            known.is_broken = True
            self.refuse(digest, known, f"A file of it cannot be written on {self._agent.namespace.worker}: {error}")
            return False
        return True

    # ---- leaving and renewing

    def forget(self, digest: str) -> None:
        """Clean up and forget, once no job of it runs."""
        known = self.known.get(digest)
        if known is not None and known.is_leaving and known.successor is not None:
            known.successor = None
            self._agent.recall_all(digest)
        elif known is not None and not known.is_leaving:
            self._leave(digest, known)

    def _leave(self, digest: str, known: Known) -> None:
        known.take(Event.LEAVE)
        self._agent.recall_all(digest)
        self.rest(digest, known)

    def renew(self, digest: str, facts: dict[str, Any]) -> None:
        """Run cleanup and then setup again with new arguments and files, once no job of it runs."""
        known = self.get(digest)
        try:
            facts = own_facts(facts)
        except MessageRefused as error:
            return warn(f"what came to renew {digest} cannot be used: {error}.")
        if known is not None:
            known.renewal = facts
            known.take(Event.RENEW)
            self._agent.recall_all(digest)
            self.rest(digest, known)
        return None

    def rest(self, digest: str, known: Known) -> None:
        """Do what was put off while jobs of a computation ran."""
        if known.running or self._agent.closed or not known.take(Event.IDLE):
            return
        prepared_server, known.prepared_server = known.prepared_server, None
        if prepared_server is None or prepared_server.exited:
            self._cleaned(digest, known)
        else:
            prepared_server.on_gone = lambda: self._cleaned(digest, known)
            prepared_server.cleanup()

    def _cleaned(self, digest: str, known: Known) -> None:
        if known.state is State.RENEWAL_CLEANUP:
            facts = known.renewal
            fresh = Known(known.spec, facts)
            fresh.limit = facts.get("limit", known.limit)
            self._begin(digest, fresh, facts)
            return
        if self.known.get(digest) is known:
            del self.known[digest]
        self._agent.let_go(digest)
        if not known.computation.keep_files:
            self._remove(known, digest)
        if known.successor is None or not known.is_broken:
            self._agent.post(Closed(digest))
        if known.successor is not None:
            spec, facts = known.successor
            self._begin(digest, Known(spec, facts), facts)
            self._agent.feed()

    def _remove(self, known: Known, digest: str) -> None:
        with files_of(self._agent.account), contextlib.suppress(JobError):  # a bad name was refused, nothing is there
            shutil.rmtree(self.place(known, digest), ignore_errors=True)

    # ---- setup

    def _start_prepared(self, digest: str, known: Known) -> None:
        assert self._agent.root is not None
        try:
            prepared_server = self._agent.root.forkserver.prepared_server(digest, known.spec, known.setup_args)
        except OSError as error:
            warn(f"no process for the setup of {known.computation.name} can be started ({error}); trying again.")
            return self._raise_later(digest, known)
        known.prepared_server = prepared_server
        prepared_server.on_state = lambda prepared_server: self._prepared_state(digest, known, prepared_server)
        prepared_server.on_gone = lambda: self._prepared_gone(digest, known, prepared_server)
        return None

    def _raise_later(self, digest: str, known: Known) -> None:
        known.prepared_server = None
        self._agent.loop.call_later(AGAIN_S, self._raise_again, digest, known)

    def _raise_again(self, digest: str, known: Known) -> None:
        is_wanted = self.known.get(digest) is known and known.state is State.SETTING_UP
        if is_wanted and known.prepared_server is None and not self._agent.closed:
            self._start_prepared(digest, known)

    def _prepared_gone(self, digest: str, known: Known, prepared_server: ForkServerClient) -> None:
        """A prepared fork server has died unasked: its setup runs again, unless it was ended for a falsehood."""
        if prepared_server.falsehood:
            known.prepared_server = None
            self.refuse(digest, known, prepared_server.falsehood)
        elif known.take(Event.SETUP_DIED):
            warn(f"the process that ran the setup of {known.computation.name} has died; running its setup again.")
            self._raise_later(digest, known)

    def _prepared_state(self, digest: str, known: Known, prepared_server: ForkServerClient) -> None:
        if prepared_server.state != "ready":
            self.refuse(digest, known, prepared_server.text)
        elif known.take(Event.SET_UP):
            self._agent.post(Ready(digest))
            self._agent.feed()

    def died(self, digest: str, how: str) -> str:
        """A slot has died before it ran a job of this computation; return why that is refused now, if so."""
        known = self.get(digest)
        if known is None:
            return ""
        known.failed_loads += 1
        if known.failed_loads < LOADS:
            return ""
        text = f"{known.failed_loads} processes in a row have ended while they loaded it; the last {how}."
        self.refuse(digest, known, text)
        return text

    def refuse(self, digest: str, known: Known, text: str) -> None:
        """Say that a computation cannot run here, and give its batches back."""
        known.take(Event.REFUSED)
        known.refused = text
        self._agent.post(Refused(digest, text))
        self._agent.recall_all(digest, "refused", {"text": text})
