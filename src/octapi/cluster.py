"""The cluster as a standard :class:`concurrent.futures.Executor`."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from octapi.connect import connect
from octapi.dispatch import payload
from octapi.dispatch.enclosed import paths_of
from octapi.dispatch.lane import Listener
from octapi.dispatch.lanes import Lanes
from octapi.errors import ClusterClosed, JobNotSent
from octapi.items import Items
from octapi.job import Job, JobTicket
from octapi.pool import slots_of
from octapi.progress import Bar, is_wanted
from octapi.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from octapi.dispatch.computation import File
    from octapi.dispatch.dispatcher import Dispatcher
    from octapi.dispatch.ticket import Ticket, WorkerInfo
    from octapi.pool import PoolArguments

BUFFERSIZE = 100_000
RETRIES = 2


@dataclasses.dataclass(frozen=True)
class Options:
    """How jobs are to run; made by :meth:`Cluster.options`.

    ``timeout_s``: seconds after which a job is stopped and fails with JobTimeout.
    ``retries``: how often a job is started again when its worker is lost.
    ``worker``: the name of the only worker that may run it.  ``files``: a local path or several to
    send along, as they are at each call; they lie in the job's working directory.  ``files_to``: the directory
    that takes what the job sends home with :func:`octapi.send_file`, by default the working directory.
    """

    timeout_s: float | None = None
    retries: int = RETRIES
    worker: str | None = None
    files: tuple[str | Path, ...] = ()
    files_to: str | Path = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", paths_of(self.files))


DEFAULTS = Options()


class Files(Listener):
    """Takes the files that jobs send home."""

    def __init__(self, place: str | Path) -> None:
        self._place = Path(place).absolute()

    def file(self, file: File, ticket: Ticket | None) -> None:
        """Write it, and tell its job where it is."""
        path = file.place(self._place)
        if isinstance(ticket, JobTicket) and ticket.job is not None:
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
        return self._cluster._map(self._options, fn, iterables, timeout, chunksize, buffersize, ordered)


class Cluster(concurrent.futures.Executor):
    """All slots of a cluster, or of this computer when there is none.

    ``address`` is ``host:port`` of a master, ``"local"`` for this computer's cores, or None: the
    environment variable ``OCTAPI_ADDRESS``, the last master, or else this computer's cores, which
    is said on stderr.  ``slots`` bounds the processes of a local cluster.  ``progress`` shows a bar with
    jobs done, rate and time left, or where there is no terminal a line every 5 s; by default on a terminal only.
    ``page`` opens the page on this computer's loopback for as long as the cluster lives, and prints its link on stderr.
    ``pool`` are those of :class:`concurrent.futures.ProcessPoolExecutor` by name: ``max_workers`` (also as first
    argument) is ``slots``, ``mp_context`` and ``max_tasks_per_child`` are not needed, ``initializer`` is refused.

    Raises :exc:`octapi.errors.MasterNotFound` when an address was given and nobody answers there.
    """

    def __init__(
        self,
        address: str | int | None = None,
        *,
        slots: int | None = None,
        progress: bool | None = None,
        page: bool = False,
        **pool: Unpack[PoolArguments],
    ) -> None:
        place, bound = slots_of(address, slots, pool)
        self.engine: Dispatcher = connect(place, slots=bound)
        self._lanes = Lanes(self.engine, Files)
        self._open: set[Job] = set()
        self._results: set[Results] = set()
        self._lock = threading.Lock()
        self._is_shut = False
        self._dask: Any = None
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

        On this computer alone it starts a Dask cluster of its own with as many processes as slots.
        """
        with self._lock:
            if self._is_shut:
                raise ClusterClosed("The cluster was shut down. Make a new one.")
            if self._dask is None:
                self._dask = open_dask(self.engine, self._stack)
            return self._dask

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job:
        """Run ``fn(*args, **kwargs)`` on the cluster, and return its :class:`~octapi.Job` at once."""
        return self._submit(DEFAULTS, fn, args, kwargs)

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
        results come as they are ready.  Closing the iterator stops the work.  What the jobs print is shown on
        stderr, the first 200 lines of it; an error that an item raises has a note of which item it was.
        """
        return self._map(DEFAULTS, fn, iterables, timeout, chunksize, buffersize, ordered)

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
            self._lanes.release(results.lane)

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
        ticket = job._ticket = JobTicket(b"", job, worker=options.worker, retries=options.retries)
        try:
            self._lanes.submit(options, payload.unwrapped(fn, args, kwargs), ticket)
        except Exception as error:
            if isinstance(error, ClusterClosed):
                self._open.discard(job)
                raise
            job.set_running_or_notify_cancel()
            job.set_exception(not_sent(fn, error))
        except BaseException:  # Ctrl-C while it is pickled
            self._open.discard(job)
            raise
        return job

    def _map(
        self,
        options: Options,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int,
        buffersize: int | None,
        ordered: bool,
    ) -> Iterator[Any]:
        if self._is_shut:
            raise ClusterClosed("The cluster was shut down, so it takes no more jobs. Make a new one.")
        buffersize = BUFFERSIZE if buffersize is None else buffersize
        check_sizes(chunksize, buffersize)
        items = Items(iterables, buffersize)
        try:
            lane = self._lanes.hold(options, fn)
        except Exception as error:
            raise not_sent(fn, error) from error
        results = Results(lane, items, options, timeout, buffersize, ordered, self._end_map)
        self._results.add(results)
        if self._shows_progress:
            self._show_progress()
        results.start()
        return results


def open_dask(engine: Dispatcher, stack: contextlib.ExitStack) -> Any:
    """Open a Dask client on the devices that ``engine`` uses; ``stack`` closes what it starts."""
    from distributed import Client

    address = getattr(engine.link, "dask_address", "")
    way = getattr(engine.link, "way", None)
    trust = way.trust if way is not None else None
    if not address:
        from octapi.embedded import EmbeddedCluster

        # not Dask's own LocalCluster, whose processes import the script again and so need a main guard
        embedded = stack.enter_context(EmbeddedCluster(workers=engine.slots, slots=1))
        address, trust = embedded.dask_address, embedded.trust()
    security: dict[str, Any] = {}
    if trust is not None:
        from octapi.trust.daskcomm import Guard, GuardedSecurity

        security["security"] = GuardedSecurity(Guard(trust, "client"))
    return stack.enter_context(Client(address, set_as_default=False, **security))


def check_sizes(chunksize: int, buffersize: int) -> None:
    """Refuse sizes that mean nothing, as the standard library does.  Raises ValueError."""
    if chunksize < 1:
        raise ValueError("chunksize must be 1 or more")
    if buffersize < 1:
        raise ValueError("buffersize must be 1 or more, or None")


def not_sent(fn: Callable[..., Any], error: Exception) -> JobNotSent:
    """Say why a call cannot be sent."""
    name = payload.name(fn)
    if isinstance(error, JobNotSent):
        return JobNotSent(str(error), function=name)
    text = f"The function or its arguments cannot be pickled: {type(error).__name__}: {error}"
    failed = JobNotSent(text, function=name)
    failed.__cause__ = without_frames(error)
    return failed


def without_frames(error: BaseException) -> BaseException:
    """Turn an error's traceback into a note: its frames would keep the call's arguments alive."""
    error.add_note("".join(("Where it was raised:\n", *traceback.format_tb(error.__traceback__))).rstrip())
    found: BaseException | None = error
    while found is not None:
        found.__traceback__ = None
        found = found.__cause__ or found.__context__
    return error
