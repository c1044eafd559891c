"""The cluster as a standard :class:`concurrent.futures.Executor`."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import itertools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi.connect import connect
from octapi.dispatch import payload
from octapi.dispatch.lane import Listener
from octapi.errors import ClusterClosed, JobNotSent
from octapi.job import Job, JobTicket
from octapi.progress import Bar, is_wanted
from octapi.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from octapi.dask_client import Dask
    from octapi.dispatch.computation import File
    from octapi.dispatch.dispatcher import Dispatcher
    from octapi.dispatch.lane import Lane
    from octapi.dispatch.ticket import Ticket, WorkerInfo

BUFFERSIZE = 100_000
RETRIES = 2


@dataclasses.dataclass(frozen=True)
class Options:
    """How jobs are to run; made by :meth:`Cluster.options`.

    ``timeout_s``: seconds after which a job is stopped and fails with JobTimeout.
    ``retries``: how often a job is started again when its worker is lost.
    ``worker``: the name of the only worker that may run it.  ``files``: local paths to send along; they
    lie in the job's working directory.  ``files_to``: the directory that takes what the job sends home
    with :func:`octapi.send_file`, by default the working directory.
    """

    timeout_s: float | None = None
    retries: int = RETRIES
    worker: str | None = None
    files: tuple[str | Path, ...] = ()
    files_to: str | Path = ""


class Files(Listener):
    """Takes the files that jobs send home."""

    def __init__(self, place: str | Path) -> None:
        self._place = Path(place).absolute()

    def file(self, file: File, ticket: Ticket | None) -> None:
        """Write it, and tell its job where it is."""
        path = file.place(self._place)
        if isinstance(ticket, JobTicket):
            ticket.job.files.append(path)


class Calls:
    """``submit`` and ``map`` with given options; what :meth:`Cluster.options` returns."""

    def __init__(self, cluster: Cluster, options: Options) -> None:
        self._cluster = cluster
        self._options = options

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job:
        """Run ``fn(*args, **kwargs)`` on the cluster."""
        return self._cluster._submit(self._options, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = BUFFERSIZE,
        ordered: bool = True,
    ) -> Iterator[Any]:
        """Run ``fn`` over the iterables; see :meth:`Cluster.map`."""
        return self._cluster._map(self._options, fn, iterables, timeout, buffersize, ordered)


class Cluster(concurrent.futures.Executor):
    """All slots of a cluster, or of this computer when there is none.

    ``address`` is ``host:port`` of a master, ``"local"`` for this computer's cores, or None: the
    environment variable ``OCTAPI_ADDRESS``, the last master, or else this computer's cores, which
    is said on stderr.  ``slots`` bounds the processes of a local cluster.  ``progress`` shows a bar with
    jobs done, rate and time left; by default on a terminal only.  ``page`` opens the page on this computer's
    loopback for as long as the cluster lives, and prints its link on stderr; it needs the extra ``octapi[page]``.

    Raises :exc:`octapi.errors.MasterNotFound` when an address was given and nobody answers there.
    """

    def __init__(
        self, address: str | None = None, *, slots: int | None = None, progress: bool | None = None, page: bool = False
    ) -> None:
        self.engine: Dispatcher = connect(address, slots=slots)
        self._lanes: dict[Any, Lane] = {}
        self._open: set[Job] = set()
        self._results: set[Results] = set()
        self._lock = threading.Lock()
        self._is_shut = False
        self._dask: Dask | None = None
        self._stack = contextlib.ExitStack()
        self._bar: Bar | None = None
        self._shows_progress = is_wanted(progress)
        if page:
            from octapi.page.beside import Beside

            self._stack.callback(Beside(self.engine).close)
        self._submitted = 0
        self._mapped = (0, 0)

    @property
    def dask(self) -> Any:
        """A :class:`distributed.Client` on the same devices, started when it is first asked for.

        It is Dask's current client until it is closed, which the end of the cluster does too: ``compute()`` and
        whatever else of Dask looks for a client finds it, from all threads.  On this computer alone it starts a Dask
        cluster of its own with as many processes as slots.  Raises :exc:`~octapi.errors.ClusterClosed`.
        """
        with self._lock:
            if self._is_shut:
                raise ClusterClosed("The cluster was shut down. Make a new one.")
            if self._dask is None:
                from octapi.dask_client import Dask

                self._dask = Dask(self.engine)
                self._stack.callback(self._dask.close)
            return self._dask.client()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job:
        """Run ``fn(*args, **kwargs)`` on the cluster, and return its :class:`~octapi.Job` at once."""
        return self._submit(Options(), fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = BUFFERSIZE,
        ordered: bool = True,
    ) -> Iterator[Any]:
        """Run ``fn`` over the items of the iterables, as :meth:`concurrent.futures.Executor.map`.

        The work starts at the call; at most ``buffersize`` results wait unread.  ``chunksize`` is
        accepted and not needed: batches are sized by measured time.  With ``ordered=False``
        results come as they are ready.  Closing the iterator stops the work.
        """
        return self._map(Options(), fn, iterables, timeout, buffersize, ordered)

    def options(self, **options: Any) -> Calls:
        """Return ``submit`` and ``map`` with :class:`Options`; they never collide with the function's arguments."""
        return Calls(self, Options(**options))

    def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the workers there are now."""
        return self.engine.workers()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs; wait for those there are, or cancel those that have not started."""
        with self._lock:
            self._is_shut = True
            jobs = list(self._open)
        if cancel_futures:
            for results in list(self._results):
                results.close()
            for job in jobs:
                if not job.running():
                    job.cancel()
        if wait:
            self._drain()
        else:
            threading.Thread(target=self._drain, name="octapi-shutdown").start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Shut down, waiting for the jobs; after Ctrl-C they are stopped instead."""
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            with self._lock:
                self._is_shut = True
            self._close()
        else:
            self.shutdown()

    def _counts(self) -> tuple[int, int]:
        """Return how many jobs are done, and how many there are."""
        results = list(self._results)
        total = self._submitted + self._mapped[1] + sum(r.total for r in results)
        done = self._submitted - len(self._open) + self._mapped[0] + sum(r.done for r in results)
        return done, total

    def _show_progress(self) -> None:
        with self._lock:
            if self._shows_progress and self._bar is None and not self._is_shut:
                self._bar = Bar(self._counts)

    def _end_map(self, results: Results) -> None:
        if results in self._results:
            self._results.discard(results)
            self._mapped = (self._mapped[0] + results.done, self._mapped[1] + results.done)

    def _drain(self) -> None:
        for results in list(self._results):
            results.finish()
        while jobs := list(self._open):
            concurrent.futures.wait(jobs)
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._stack.close()
        self.engine.close()

    # ---- behind submit and map

    def _lane(self, options: Options, fn: Callable[..., Any]) -> Lane:
        key: Any = (options.timeout_s, options.files, options.files_to, fn)
        try:
            lane = self._lanes.get(key)
        except TypeError:  # a callable that has no hash
            key = (options.timeout_s, options.files, options.files_to, id(fn), fn.__class__)
            lane = self._lanes.get(key)
        if lane is None:
            files = payload.read_files(options.files)
            found = payload.of_function(fn, options.timeout_s, files)
            lane = self.engine.open(found, listener=Files(options.files_to))
            self._lanes[key] = lane
        return lane

    def _submit(self, options: Options, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job:
        job = Job()
        with self._lock:
            if self._is_shut:
                raise ClusterClosed("The cluster was shut down, so it takes no more jobs. Make a new one.")
            self._open.add(job)
            self._submitted += 1
        if self._shows_progress and self._bar is None:
            self._show_progress()
        job.add_done_callback(self._open.discard)
        try:
            lane = self._lane(options, fn)
            data = payload.call_bytes(args, kwargs)
        except Exception as error:
            job.set_running_or_notify_cancel()
            job.set_exception(not_sent(fn, error))
            return job
        job._ticket = JobTicket(data, job, worker=options.worker, retries=options.retries)
        lane.submit(job._ticket)
        return job

    def _map(
        self,
        options: Options,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        buffersize: int | None,
        ordered: bool,
    ) -> Iterator[Any]:
        if self._is_shut:
            raise ClusterClosed("The cluster was shut down, so it takes no more jobs. Make a new one.")
        items = zip(*iterables, strict=False) if iterables else itertools.repeat(())
        results = Results(
            self._lane(options, fn), items, options, timeout, buffersize or BUFFERSIZE, ordered, self._end_map
        )
        self._results.add(results)
        if self._shows_progress:
            self._show_progress()
        results.start()
        return results


def not_sent(fn: Callable[..., Any], error: Exception) -> JobNotSent:
    """Say that a call cannot be pickled."""
    failed = JobNotSent(
        f"The function or its arguments cannot be pickled: {type(error).__name__}: {error}", function=payload.name(fn)
    )
    failed.__cause__ = error
    return failed
