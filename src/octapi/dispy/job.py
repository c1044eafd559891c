"""DispyJob: one job as dispy scripts see it."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

from octapi.dispatch import ticket as outcome
from octapi.dispatch.ticket import Extra, Ticket, WorkerInfo
from octapi.errors import JobStopped, WorkerLost

if TYPE_CHECKING:
    from octapi.dispy.cluster import JobCluster

_FINISH = threading.Lock()
_ids = itertools.count(1)


class DispyJob(Ticket):
    """What ``submit`` returns.  Times are epoch seconds; ``exception`` is None or a traceback text."""

    Created = 5
    Running = 6
    ProvisionalResult = 7
    Cancelled = 8
    Terminated = 9
    Abandoned = 10
    Finished = 11

    __slots__ = (
        "_args",
        "_cluster",
        "_dispy_job_",
        "_final",
        "_finish",
        "_sent",
        "_id",
        "_kwargs",
        "_named",
        "_uid",
        "end_time",
        "exception",
        "ip_addr",
        "result",
        "start_time",
        "status",
        "stderr",
        "stdout",
        "submit_time",
    )

    def __init__(self, cluster: JobCluster | None, payload: bytes, args: Any, kwargs: Any, retries: int) -> None:
        self.payload = payload
        self.worker = None
        self.retries = retries
        self.code = b""
        self.files = ()
        self.attempts = 0
        self.past = ()
        self.serial = 0
        self.lane = self.batch = None
        self.index = 0
        self.done = False
        self._cluster = cluster
        self._args = args
        self._kwargs = kwargs
        self._id: Any = next(_ids)
        self._uid = id(self)
        self._dispy_job_ = self
        self._named = False
        self._final = False
        self._sent = len(payload)
        self._finish: threading.Event | None = None
        self.result: Any = None
        self.stdout: Any = None
        self.stderr: Any = None
        self.exception: str | None = None
        self.status = 5
        self.submit_time = time.time()
        self.start_time: float | None = None
        self.end_time: float | None = None
        self.ip_addr: str | None = None

    @property
    def id(self) -> Any:
        """The job's name, which scripts assign just after ``submit``."""
        return self._id

    @id.setter
    def id(self, value: Any) -> None:
        self._id = value
        self._named = True

    @property
    def finish(self) -> threading.Event:
        """An event that is set once the job has its final state."""
        event = self._finish
        if event is None:
            with _FINISH:
                event = self._finish
                if event is None:
                    event = threading.Event()
                    self._finish = event
            if self._final:
                event.set()
        return event

    def __call__(self, clear: bool = False) -> Any:
        """Wait for the final state and return ``result``, which is None when the job failed."""
        if not self._final or self._finish is not None:
            self.finish.wait()
            if clear:
                self.finish.clear()
        return self.result

    def __lt__(self, other: DispyJob) -> bool:
        """Order jobs somehow, so that queues of them work."""
        if self._final:
            return False
        return other._final or self._uid < other._uid

    def copied(self, status: int | None = None) -> DispyJob:
        """Return the shallow copy that callbacks get, with ``status`` if that is given."""
        self.finish  # noqa: B018  (the copy shares the event)
        twin = copy.copy(self)
        if status is not None:
            twin.status = status
        return twin

    # ---- the engine's side

    def begun(self, worker: WorkerInfo, started: float) -> None:
        """Take note of the node."""
        if self.status == self.Created:
            self.status = self.Running
            self.ip_addr, self.start_time = worker.address, started
            if self._cluster is not None:
                self._cluster._on_begun(self, worker.name)

    def again(self) -> None:
        """Wait for another node: this job's was lost."""
        if self._cluster is not None:
            self._cluster._on_again(self)
        self.status = self.Created
        self.ip_addr = self.start_time = None

    def provisional(self, data: bytes) -> None:
        """Take a provisional result."""
        self.result = pickle.loads(data)
        self.status = self.ProvisionalResult
        if self._cluster is not None:
            self._cluster._on_provisional(self, len(data))

    def refuse(self, why: str) -> None:
        """End as Cancelled before it was ever sent."""
        self.exception = why
        self.done = True
        self._end(self.Cancelled, "", 0)

    def resolve(
        self, kind: int, data: bytes, started: float, ended: float, worker: WorkerInfo | None, extra: Extra | None
    ) -> None:
        """Take the final outcome."""
        was_cancelled = self.status == self.Cancelled
        was_begun = self.ip_addr is not None
        if worker is not None:
            self.ip_addr, self.start_time, self.end_time = worker.address, started, ended
        if extra is not None:
            self.stdout, self.stderr, _ = extra
        elif kind <= outcome.ERROR:
            self.stdout = self.stderr = ""
        status = self.Finished
        if kind == outcome.VALUE and not data:
            self.result = None
        else:
            status = self._take(kind, data)
        if was_cancelled and kind == outcome.PROGRAM:
            status = self.Terminated
        self._end(status, worker.name if worker is not None else "", len(data), was_begun)

    def _end(self, status: int, worker: str, received: int, was_begun: bool = True) -> None:
        self._args = self._kwargs = ()
        self.payload = b""
        self.status = status
        self._final = True
        if self._finish is not None:
            self._finish.set()
        if self._cluster is not None:
            self._cluster._on_final(self, worker, self._sent, received, was_begun)

    def _take(self, kind: int, data: bytes) -> int:
        if kind in (outcome.VALUE, outcome.PROGRAM):
            try:
                self.result = pickle.loads(data)
                return self.Finished
            except Exception as why:
                self.exception = f"The result cannot be loaded here: {type(why).__name__}: {why}\n"
                return self.Terminated
        self.result = None
        if kind == outcome.CANCELLED:
            return self.Cancelled if self.ip_addr is None else self.Terminated
        if kind == outcome.ERROR:
            self.exception = pickle.loads(data)[1]
            return self.Terminated
        error = pickle.loads(data)
        self.exception = f"{type(error).__name__}: {error}\n"
        if isinstance(error, JobStopped):  # as in dispy, a job that was killed says nothing
            self.exception = self.stdout = self.stderr = None
        return self.Abandoned if isinstance(error, WorkerLost) else self.Terminated
