"""One job inside the engine, and what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from octapi.client.job_errors import handling_error

if TYPE_CHECKING:
    from octapi.errors import Attempt, JobError
    from octapi.protocol.computation import File
    from octapi.protocol.outcome import Extra, WorkerInfo
    from octapi.protocol.wire import Buffer


class PendingJob:
    """One job: its payload (a pickle of ``(args, kwargs)``), where it may run, and what came of it.

    The methods run on the dispatcher's thread: they must be short and must not block or raise.
    """

    __slots__ = (
        "attempts", "batch", "code", "done", "files", "index", "past", "payload", "queue", "retries", "serial",
        "worker",
    )  # fmt: skip

    def __init__(
        self,
        payload: bytes,
        *,
        worker: str | None = None,
        retries: int = 2,
        code: bytes = b"",
        files: tuple[File, ...] = (),
    ) -> None:
        self.payload = payload
        self.worker = worker
        self.retries = retries
        self.code = code
        self.files = files
        self.attempts = 0
        #: what came of its starts so far
        self.past: tuple[Attempt, ...] = ()
        self.queue: Any = None
        #: its place among the jobs of its queue, the same for each start
        self.serial = 0
        self.batch: Any = None
        self.index = 0
        self.done = False

    def begun(self, worker: WorkerInfo, started: float) -> None:
        """A slot of ``worker`` was given the job at ``started`` (epoch seconds)."""

    def again(self) -> None:
        """Its worker was lost, and it waits for another."""

    def provisional(self, data: bytes) -> None:
        """The job handed in a provisional result, pickled in ``data``."""

    def resolve(
        self, kind: int, data: Buffer, started: float, ended: float, worker: WorkerInfo | None, extra: Extra | None
    ) -> None:
        """Take the job's one final outcome: ``kind`` says what ``data`` is a pickle of."""

    def broken(self, error: JobError) -> None:
        """End with ``error``: :meth:`resolve` has raised, which it must not."""

    def settle_once(
        self,
        kind: int,
        data: Buffer = b"",
        started: float = 0.0,
        ended: float = 0.0,
        worker: WorkerInfo | None = None,
        extra: Extra | None = None,
    ) -> None:
        """Resolve it, once."""
        if not self.done:
            self.done = True
            self.batch = None
            self.payload = b""
            try:
                self.resolve(kind, data, started, ended, worker, extra)
            except BaseException as error:
                self.broken(handling_error(error))
