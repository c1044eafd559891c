"""DispyJob: one job as dispy scripts see it."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from octapi.client.pending_job import PendingJob
from octapi.dispy.guard import guarded
from octapi.dispy.logger import logger
from octapi.errors import JobError, JobStopped, WorkerLost
from octapi.pickling import loads_result
from octapi.pickling.arriving import REFERS
from octapi.protocol import outcome

if TYPE_CHECKING:
    from octapi.dispy.cluster import JobCluster
    from octapi.dispy.window import Window
    from octapi.protocol.outcome import Extra, WorkerInfo
    from octapi.protocol.wire import Buffer

_FINISH = threading.Lock()
_ids = itertools.count(1)


class DispyJob(PendingJob):
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
        "_notes",
        "_status",
        "_uid",
        "_window",
        "end_time",
        "exception",
        "ip_addr",
        "result",
        "start_time",
        "stderr",
        "stdout",
        "submit_time",
    )

    def __init__(
        self,
        job_id: object = None,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
        cluster: JobCluster | None = None,
        payload: bytes = b"",
        retries: int = 0,
    ) -> None:
        self.payload = payload
        self.worker = None
        self.retries = retries
        self.code = b""
        self.files = ()
        self.attempts = 0
        self.past = ()
        self.serial = 0
        self.queue = self.batch = None
        self.index = 0
        self.done = False
        self._cluster = cluster
        self._args = args
        self._kwargs = kwargs
        self._id: Any = job_id or next(_ids)
        self._uid = id(self)
        self._dispy_job_ = self
        self._named = bool(job_id)
        self._final = False
        self._window: Window | None = None
        self._notes: tuple[str, ...] = ()
        self._sent = len(payload)
        self._finish: threading.Event | None = None
        self.result: Any = None
        self.stdout: Any = None
        self.stderr: Any = None
        self.exception: str | None = None
        self._status = 5
        self.submit_time = time.time()
        self.start_time: float | None = None
        self.end_time: float | None = None
        self.ip_addr: str | None = None

    @property
    def id(self) -> Any:
        """The job's name, which scripts assign just after ``submit``."""
        return self._id

    @id.setter
    def id(self, value: object) -> None:
        self._id = value
        self._named = True

    @property
    def status(self) -> int:
        """One of the constants above."""
        window = self._window
        if window is None or not window.is_mine():
            return self._status
        window.is_open = not self._named
        return self._status if self._status < self.Cancelled else self.Running

    @status.setter
    def status(self, value: int) -> None:
        self._status = value

    @property
    def finish(self) -> threading.Event:
        """An event that is set once the job has its final state."""
        self._go_on()
        return self._event()

    def _event(self) -> threading.Event:
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

    def _go_on(self) -> None:
        """Take note that the script does something else than to name its last job."""
        cluster = self._cluster
        if cluster is not None and (windows := cluster.session.callbacks.windows).last:
            windows.close()

    def __call__(self, clear: bool = False) -> Any:
        """Wait for the final state and return ``result``, which is None when the job failed."""
        self._go_on()
        if not self._final or self._finish is not None:
            self._event().wait()
            if clear:
                self._event().clear()
        return self.result

    def __lt__(self, other: DispyJob) -> bool:
        """Order jobs somehow, so that queues of them work."""
        if self._final:
            return False
        return other._final or self._uid < other._uid

    def copied(self, status: int | None = None) -> DispyJob:
        """Return the shallow copy that callbacks get, with ``status`` if that is given."""
        self._event()  # the copy shares it
        twin = copy.copy(self)
        twin._window = None
        if status is not None:
            twin._status = status
        return twin

    # ---- the engine's side

    @guarded
    def begun(self, worker: WorkerInfo, started: float) -> None:
        """Take note of the node."""
        if self._status == self.Created:
            self._status = self.Running
            self.ip_addr, self.start_time = worker.address, started
            if self._cluster is not None:
                self._cluster._on_begun(self, worker.name)

    @guarded
    def again(self) -> None:
        """Wait for another node: this job's was lost."""
        if self._cluster is not None:
            self._cluster._on_again(self)
        self._status = self.Created
        self.ip_addr = self.start_time = None

    @guarded
    def provisional(self, data: bytes) -> None:
        """Take a provisional result; one that cannot be loaded here is a warning."""
        try:
            result = loads_result(data)
        except BaseException as why:  # the code of a class of the script's: it may raise anything
            return self.note(f"A provisional result cannot be loaded here: {type(why).__name__}: {why}")
        self.result = result
        self._status = self.ProvisionalResult
        if self._cluster is not None:
            self._cluster._on_provisional(self, len(data))
        return None

    def note(self, text: str) -> None:
        """Warn of something about this job, and let its ``stderr`` say so too."""
        self._notes = (*self._notes, f"octapi: {text}\n")
        logger.warning("Job %s: %s", self._id, text)

    def refuse(self, why: str) -> None:
        """End as Cancelled before it was ever sent."""
        self.exception = why
        self.done = True
        self._end(self.Cancelled, "", 0)

    def resolve(
        self, kind: int, data: Buffer, started: float, ended: float, worker: WorkerInfo | None, extra: Extra | None
    ) -> None:
        """Take the final outcome."""
        was_cancelled = self._status == self.Cancelled
        was_begun = self.ip_addr is not None
        if worker is not None:
            self.ip_addr, self.start_time, self.end_time = worker.address, started, ended
        if extra is not None:
            self.stdout, self.stderr, _ = extra
        elif kind <= outcome.ERROR:
            self.stdout = self.stderr = ""
        status = self.Finished
        if kind != outcome.VALUE:
            status = self._loaded(kind, data)
        else:
            try:
                plain = type(data) is bytes and REFERS not in data  # most results are, and this is what all jobs pass
                self.result = (pickle.loads(data) if plain else loads_result(data)) if data else None
            except BaseException as why:  # the code of a class of the script's: it may raise anything
                status = self._not_loaded(why)
        if was_cancelled and kind == outcome.PROGRAM:
            status = self.Terminated
        if self._notes and not isinstance(self.stderr, bytes):
            self.stderr = "".join((self.stderr or "", *self._notes))
        self._end(status, worker.name if worker is not None else "", len(data), was_begun)

    def broken(self, error: JobError) -> None:
        """End with an error when the outcome could not be taken."""
        if not self._final:
            self.result, self.exception = None, f"{error}\n"
            self._end(self.Terminated, "", 0)

    def _end(self, status: int, worker: str, received: int, was_begun: bool = True) -> None:
        self._args, self._kwargs = (), None
        self.payload = b""
        self._status = status
        self._final = True
        if self._finish is not None:
            self._finish.set()
        if self._cluster is not None:
            self._cluster._on_final(self, worker, self._sent, received, was_begun)

    def _loaded(self, kind: int, data: Buffer) -> int:
        """Take what came, and return the status; whatever cannot be loaded is the job's exception."""
        try:
            return self._take(kind, data)
        except BaseException as why:  # the code of a class of the script's: it may raise anything
            return self._not_loaded(why)

    def _not_loaded(self, why: BaseException) -> int:
        self.result = None
        self.exception = f"The result cannot be loaded here: {type(why).__name__}: {why}\n"
        return self.Terminated

    def _take(self, kind: int, data: Buffer) -> int:
        if kind == outcome.PROGRAM:
            self.result = loads_result(data)
            return self.Finished
        self.result = None
        if kind == outcome.CANCELLED:
            return self.Cancelled if self.ip_addr is None else self.Terminated
        if kind == outcome.ERROR:
            self.exception = with_hint(pickle.loads(data)[1])
            return self.Terminated
        error = pickle.loads(data)
        self.exception = f"{type(error).__name__}: {error}\n"
        if isinstance(error, JobStopped):  # as in dispy, a job that was killed says nothing
            self.exception = self.stdout = self.stderr = None
        return self.Abandoned if isinstance(error, WorkerLost) else self.Terminated


#: the end of such a traceback, with what was noted of the argument that could not be loaded
MISSING = re.compile(
    r"(?:No module named '(?P<module>[\w.]+)'|Can't get attribute '(?P<name>[\w.]+)' on <module '__main__')[^\n]*\n"
    r"(?:\(octapi: [^\n]*\n)*$"
)


def with_hint(text: str) -> str:
    """Add to a traceback what to do about something that only the script has."""
    found = MISSING.search(text)
    if found is None or (found["module"] and found["module"].partition(".")[0] not in sys.modules):
        return text
    what = f"Module {found['module']}" if found["module"] else f"{found['name']}"
    return text + f"({what} is the script's: nodes have it if depends=[...] names it.)\n"
