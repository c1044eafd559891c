"""What all clusters of one process share: the connection, the callback thread, the recovery file."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from octapi.client.connect import connect
from octapi.client.link import LOCAL
from octapi.client.progress import Bar, is_wanted
from octapi.dispy.callbacks import Callbacks, say
from octapi.dispy.guard import guarded
from octapi.dispy.logger import logger
from octapi.dispy.recover import RecoverFile
from octapi.settings import Settings

if TYPE_CHECKING:
    from octapi.client.dispatcher import Dispatcher
    from octapi.dispy.argument_types import FilePath
    from octapi.dispy.cluster import JobCluster
    from octapi.protocol.outcome import WorkerInfo

#: how long a script that has ended waits for its jobs before it says so, in seconds
SPEAK_S = 2.0


class Session:
    """One connection for all clusters of this process.

    ``is_foreign`` is true in a process that was forked from the one that made it, where nothing of it works.
    """

    current: ClassVar[Session | None] = None
    lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, recover_file: FilePath | None = None) -> None:
        self.engine: Dispatcher = connect(recoverable=True)
        self.callbacks = Callbacks()
        self.clusters: set[JobCluster] = set()
        self.cwd = Path.cwd()
        self.told: set[str] = set()
        self.is_foreign = False
        self.is_local = self.engine.kind == LOCAL
        self.recover_file = None if self.is_local else RecoverFile.create(recover_file, self.engine.recovery)
        self._wanted_file = recover_file
        self.engine.watch(self._changed)
        self._shows = Settings.load().show
        self._bar = Bar(self._counts) if self._shows and is_wanted(None) else None
        self._past = 0

    def _changed(self, event: str, worker: WorkerInfo) -> None:
        for cluster in list(self.clusters):
            self._tell(cluster, event, worker)

    @guarded
    def _tell(self, cluster: JobCluster, event: str, worker: WorkerInfo) -> None:
        cluster._on_worker(event, worker)

    def _counts(self) -> tuple[int, int]:
        """Return how many jobs are done, and how many there are."""
        clusters = list(self.clusters)
        return self._past + sum(c._final for c in clusters), self._past + sum(c._submitted for c in clusters)

    def closed(self, cluster: JobCluster) -> None:
        """Let go of a cluster, and say what failed; under ``octapi run`` its table is printed if the script did not."""
        if cluster in self.clusters:
            self.clusters.discard(cluster)
            self._past += cluster._final
            if self._shows and not cluster.was_printed:
                print(cluster.table(), file=sys.stderr, flush=True)
            if text := cluster.failed():
                say(text)

    def tell_once(self, text: str) -> None:
        """Say something on stderr, the first time only."""
        if text not in self.told:
            self.told.add(text)
            say(text)

    @classmethod
    def shared(cls, recover_file: FilePath | None = None) -> Session:
        """Return the process's session; it ends, after all jobs, when the script does.

        The first cluster's ``recover_file`` is that of all.
        """
        with cls.lock:
            found = cls.current
            if found is None:
                found = cls.current = cls(recover_file)
                # Before threading's own exit handler joins threads: jobs are waited for while all still works.
                atexit.register(found.end)
            elif recover_file is not None and recover_file != found._wanted_file:
                found.ignore(recover_file)
            return found

    def ignore(self, recover_file: FilePath) -> None:
        """Say that a later cluster's ``recover_file`` is not used."""
        used = "there is none, as there is no cluster" if self.recover_file is None else str(self.recover_file.path)
        logger.warning(
            "recover_file %r is not used: all clusters of a script have the first one's (%s)", recover_file, used
        )

    def end(self) -> None:
        """Wait for all jobs and callbacks, then close the connection; a second Ctrl-C drops the jobs."""
        if self.is_foreign:
            return
        try:
            for cluster in list(self.clusters):
                if not cluster.wait(SPEAK_S) and (count := len(cluster.pending_jobs())):
                    say(f"the script has ended; {left(count, cluster.name)}.")
                cluster.close()
            self.callbacks.drain()
        except KeyboardInterrupt:
            say("stopped; jobs that were not done are dropped.")
        if self._bar is not None:
            self._bar.close()
        self.engine.close()
        if self.recover_file is not None:
            self.recover_file.remove()


def left(count: int, name: str) -> str:
    """Say how many jobs are not done, and what ends them."""
    if count == 1:
        return f"1 job of {name} is not done. Ctrl-C drops it"
    return f"{count} jobs of {name} are not done. Ctrl-C drops them"


def forget() -> None:
    """Start anew in a process just forked: connection and threads stayed behind."""
    Session.lock = threading.Lock()
    if Session.current is not None:
        Session.current.is_foreign = True
        Session.current = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
