"""The one fork server of an agent, and its successor when it dies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from octapi.pool.library_threads import library_threads
from octapi.pool.log import warn
from octapi.pool.processes import ForkServerClient
from octapi.settings import Internal

if TYPE_CHECKING:
    from octapi.pool.agent import Agent

#: a fork server that lived for less is not followed at once, and how soon it is tried again to start one, in seconds
AGAIN_S = 1.0
#: after so many that died before they had started anything, jobs are refused, and it is tried again later, in seconds
MOST_FAILURES = 3
LATER_S = 30.0


class ForkServerSupervisor:
    """Keeps a fork server for an agent.  Raises OSError when the first one cannot be started."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._launched = 0.0
        self._failures = 0
        self.forkserver = self._launch()

    def _launch(self) -> ForkServerClient:
        agent = self._agent
        threads = library_threads(agent.slots)
        env = os.environ | agent.namespace.of_worker() | threads
        env[Internal.SLOT_HOME] = str(agent.home)
        env[Internal.SLOT_LARGEST] = str(agent.watch.memory.largest)
        found = ForkServerClient.launch(agent.namespace, agent.ended, env, agent.account)
        found.on_gone = self._gone
        found.on_served = self._agent.serves
        self._launched = agent.loop.time()
        return found

    def _gone(self) -> None:
        """The fork server has died: start another, at once if it is not the second in a short time."""
        agent = self._agent
        if agent.closed:
            return
        self._failures = 0 if self.forkserver.has_served else self._failures + 1
        warn(f"the process that starts slots has died ({self.forkserver.why()}); starting another.")
        agent.idle.clear()
        if self._failures >= MOST_FAILURES:
            agent.break_down(f"No process for jobs can be started on {agent.namespace.worker}: {self.forkserver.why()}")
            agent.loop.call_later(LATER_S, self._relaunch)
        elif agent.loop.time() - self._launched > AGAIN_S:
            self._relaunch()
        else:
            agent.loop.call_later(AGAIN_S, self._relaunch)

    def _relaunch(self) -> None:
        if self._agent.closed:
            return
        try:
            fresh = self._launch()
        except OSError as error:
            warn(f"the process that starts slots cannot be started ({error}); trying again.")
            self._agent.loop.call_later(AGAIN_S, self._relaunch)
            return
        fresh.prepared_servers.update(self.forkserver.prepared_servers)  # they live on
        self.forkserver = fresh
        if self._failures:
            self._agent.prove()
        self._agent.feed()
