"""What all clusters of one process share: the connection, the callback thread, the recovery file."""

from __future__ import annotations

import atexit
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi.connect import connect
from octapi.dispatch.link import LOCAL
from octapi.dispy.callbacks import Callbacks
from octapi.dispy.recover import RecoverFile
from octapi.progress import Bar, is_wanted
from octapi.settings import Settings

if TYPE_CHECKING:
    from octapi.dispatch.dispatcher import Dispatcher
    from octapi.dispatch.ticket import WorkerInfo
    from octapi.dispy.cluster import JobCluster


class Session:
    """One connection for all clusters of this process."""

    def __init__(self, recover_file: Any = None) -> None:
        self.engine: Dispatcher = connect(recoverable=True)
        self.callbacks = Callbacks()
        self.clusters: set[JobCluster] = set()
        self.cwd = Path.cwd()
        self.told: set[str] = set()
        self.is_local = self.engine.kind == LOCAL
        self.recover_file = None if self.is_local else RecoverFile.create(recover_file, self.engine.recovery)
        self.engine.watch(self._changed)
        self._shows = Settings.load().show
        self._bar = Bar(self._counts) if self._shows and is_wanted(None) else None
        self._past = 0

    def _changed(self, event: str, worker: WorkerInfo) -> None:
        for cluster in list(self.clusters):
            cluster._on_worker(event, worker)

    def _counts(self) -> tuple[int, int]:
        """Return how many jobs are done, and how many there are."""
        clusters = list(self.clusters)
        return self._past + sum(c._final for c in clusters), self._past + sum(c._submitted for c in clusters)

    def closed(self, cluster: JobCluster) -> None:
        """Let go of a cluster; under ``octapi run`` its table is printed if the script did not."""
        if cluster in self.clusters:
            self.clusters.discard(cluster)
            self._past += cluster._final
            if self._shows and not cluster.was_printed:
                print(cluster.table(), file=sys.stderr, flush=True)

    def tell_once(self, text: str) -> None:
        """Say something on stderr, the first time only."""
        if text not in self.told:
            self.told.add(text)
            print(f"octapi: {text}", file=sys.stderr, flush=True)

    @classmethod
    @functools.lru_cache(maxsize=1)
    def shared(cls) -> Session:
        """Return the process's session; it ends, after all jobs, when the script does."""
        session = cls(cls.wanted_recover_file)
        # Before threading's own exit handler joins threads: jobs are waited for while all still works.
        atexit.register(session.end)
        return session

    #: what the first cluster of the process gave as ``recover_file``
    wanted_recover_file: Any = None

    def end(self) -> None:
        """Wait for all jobs and callbacks, then close the connection; a second Ctrl-C drops the jobs."""
        try:
            for cluster in list(self.clusters):
                cluster.close()
        except KeyboardInterrupt:
            print("octapi: stopped; jobs that were not done are dropped.", file=sys.stderr, flush=True)
        self.callbacks.drain()
        if self._bar is not None:
            self._bar.close()
        self.engine.close()
        if self.recover_file is not None:
            self.recover_file.remove()
