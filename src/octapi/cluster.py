"""The cluster as a standard :class:`concurrent.futures.Executor`."""

from __future__ import annotations

import concurrent.futures
import threading
import traceback
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from octapi.client import payload
from octapi.client.calls import BUFFERSIZE, Calls
from octapi.client.connect import connect
from octapi.client.dask_target import connect as connect_dask
from octapi.client.dispatcher import forked_error
from octapi.client.items import Items
from octapi.client.lifetime import Lifetime
from octapi.client.listener import ComputationListener
from octapi.client.pool_arguments import slots_of
from octapi.client.progress import Bar, is_wanted
from octapi.client.queues import ComputationQueues
from octapi.errors import ClusterClosed, JobNotSent
from octapi.job import Job, JobTicket
from octapi.options import OptionArguments, Options, options_of
from octapi.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from distributed import Client

    from octapi.client.dask_client import Dask
    from octapi.client.dispatcher import Dispatcher
    from octapi.client.pending_job import PendingJob
    from octapi.client.pool_arguments import PoolArguments
    from octapi.protocol.computation import File
    from octapi.protocol.outcome import WorkerInfo


class Files(ComputationListener):
    """Takes the files that jobs send home."""

    def __init__(self, place: str | Path) -> None:
        self._place = Path(place).absolute()

    def file(self, file: File, pending_job: PendingJob | None) -> None:
        """Write it, and tell its job where it is."""
        path = file.place(self._place)
        if isinstance(pending_job, JobTicket) and pending_job.job is not None:
            pending_job.job.files.append(path)


class Cluster(Calls, concurrent.futures.Executor):  # type: ignore[misc]  # its map checks items, Executor's does not
    """All slots of a cluster, or of this computer when there is none.

    ``address`` is ``host:port`` of a master, ``"local"`` for this computer's cores, or None: the
    environment variable ``OCTAPI_ADDRESS``, the last master, or else this computer's cores, which
    is said on stderr.  ``slots`` bounds the processes of a local cluster.  ``progress`` shows a bar with
    jobs done, rate and time left, or where there is no terminal a line every 5 s; by default on a terminal only.
    ``page`` opens the page on this computer's loopback for as long as the cluster lives, and prints its link on stderr.
    ``dask`` is a Dask cluster that is there already, instead of ``address``: a :class:`distributed.Client`, a cluster
    such as ``LocalCluster``, or a scheduler's address such as ``tcp://192.168.1.10:8786``.  Its workers need OctaPi;
    each gives as many slots as it has threads.  It is not closed with this cluster.
    ``pool`` are those of :class:`concurrent.futures.ProcessPoolExecutor` by name: ``max_workers`` (also as first
    argument) is ``slots``, ``mp_context`` and ``max_tasks_per_child`` are not needed, ``initializer`` is refused.

    A script that ends without :meth:`shutdown` has its jobs done first.  In a process that is forked from the one that
    made the cluster, it raises :exc:`octapi.errors.ClusterForked`.

    Raises :exc:`octapi.errors.MasterNotFound` when an address was given and nobody answers there,
    :exc:`octapi.errors.AddressError` for an address or a number of slots that cannot be used, and
    :exc:`octapi.errors.ClusterError` when processes of the Dask cluster cannot run OctaPi's jobs.
    """

    def __init__(
        self,
        address: str | int | None = None,
        *,
        slots: int | None = None,
        progress: bool | None = None,
        page: bool = False,
        dask: object = None,
        **pool: Unpack[PoolArguments],
    ) -> None:
        place, bound = slots_of(address, slots, pool)
        self.engine: Dispatcher = connect(place, slots=bound) if dask is None else connect_dask(dask, place)
        self._life = Lifetime(self.engine)
        self._dropped = weakref.finalize(self, self._life.let_go)
        self._dropped.atexit = False
        self._queues = ComputationQueues(self.engine, Files)
        self._lock = threading.Lock()
        self._is_shut = False
        self._dask: Dask | None = None
        self._shows_progress = is_wanted(progress)
        if page:
            from octapi.page.local_page import LocalPage

            self._life.stack.callback(LocalPage(self.engine).close)

    @property
    def _cluster(self) -> Cluster:
        return self

    @property
    def dask(self) -> Client:
        """A :class:`distributed.Client` on the same devices, started when it is first asked for.

        It is Dask's current client until it is closed, which the end of the cluster does too: ``compute()`` and
        whatever else of Dask looks for a client finds it, from all threads.  A client given as ``dask=`` is returned as
        it is.  On this computer alone it starts a Dask
        cluster of its own with as many processes as slots.  Raises :exc:`~octapi.errors.ClusterClosed`.
        """
        with self._lock:
            self._check_open()
            if self._dask is None:
                from octapi.client.dask_client import Dask

                self._dask = Dask(self.engine)
                self._life.stack.callback(self._dask.close)
            return self._dask.client()

    def options(self, **options: Unpack[OptionArguments]) -> Calls:
        """Return ``submit`` and ``map`` with :class:`Options`; they never collide with the function's arguments.

        Raises :exc:`octapi.errors.OptionError` for an option that does not exist or has a value that cannot be used.
        """
        return Calls(self, options_of(options))

    def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the workers there are now."""
        return self.engine.workers()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs; wait for those there are and for their callbacks, or cancel those that have not started.

        In a callback it does not wait for callbacks.
        """
        if self.engine.is_forked:
            return
        with self._lock:
            self._is_shut = True
        if cancel_futures:
            self._life.cancel()
        if self._life.is_over:
            return
        if wait:
            self._life.drain()
        else:
            threading.Thread(target=self._life.drain, name="octapi-shutdown").start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Shut down, waiting for the jobs; after Ctrl-C they are stopped instead."""
        if kind is not None and issubclass(kind, KeyboardInterrupt) and not self.engine.is_forked:
            with self._lock:
                self._is_shut = True
            self._life.close()
        else:
            self.shutdown()

    def _check_open(self) -> None:
        """Raise :exc:`ClusterClosed` when no more jobs are taken."""
        if self.engine.is_forked:
            raise forked_error(self.engine.pid)
        if self._is_shut:
            raise ClusterClosed("The cluster was shut down, so it takes no more jobs. Make a new one.")

    def _show_progress(self) -> None:
        with self._lock:
            if self._shows_progress and self._life.bar is None and not self._is_shut:
                self._life.bar = Bar(self._life.counts)

    # ---- behind submit and map

    def _submit(
        self, options: Options, fn: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Job[Any]:
        life = self._life
        job: Job[Any] = Job(life)
        with self._lock:
            self._check_open()
            life.open.add(job)
            life.submitted += 1
        if self._shows_progress and life.bar is None:
            self._show_progress()
        pending_job = job._ticket = JobTicket(b"", job, worker=options.worker, retries=options.retries)
        try:
            self._queues.submit(options, payload.unwrapped(fn, args, kwargs), pending_job)
        except Exception as error:
            if isinstance(error, ClusterClosed):
                life.open.discard(job)
                raise
            job.set_running_or_notify_cancel()
            job.set_exception(not_sent(fn, error))
        except BaseException:  # Ctrl-C while it is pickled
            life.open.discard(job)
            raise
        return job

    def _map(
        self,
        options: Options,
        fn: Callable[..., object],
        iterables: tuple[Iterable[object], ...],
        timeout: float | None,
        chunksize: int,
        buffersize: int | None,
        ordered: bool,
    ) -> Results[Any]:
        self._check_open()
        buffersize = BUFFERSIZE if buffersize is None else buffersize
        check_sizes(chunksize, buffersize)
        items = Items(iterables, buffersize)
        try:
            queue = self._queues.hold(options, fn)
        except Exception as error:
            raise not_sent(fn, error) from error
        results: Results[Any] = Results(
            queue, items, options, timeout, buffersize, ordered, ending(self._life, self._queues)
        )
        self._life.results.add(results)
        if self._shows_progress:
            self._show_progress()
        results.start()
        return results


def ending(life: Lifetime, queues: ComputationQueues) -> Callable[[Results[Any]], None]:
    """Return what a map calls at its end; it does not keep the Cluster alive."""

    def end(results: Results[Any]) -> None:
        if results in life.results:
            queues.release(results.queue)
        life.end_map(results)

    return end


def check_sizes(chunksize: int, buffersize: int) -> None:
    """Refuse sizes that mean nothing, as the standard library does.  Raises ValueError."""
    if chunksize < 1:
        raise ValueError("chunksize must be 1 or more")
    if buffersize < 1:
        raise ValueError("buffersize must be 1 or more, or None")


def not_sent(fn: Callable[..., object], error: Exception) -> JobNotSent:
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
