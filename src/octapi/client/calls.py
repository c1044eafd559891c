"""``submit`` and ``map`` of a cluster with given options, and what type checkers know of them.

A function's parameters are held against the arguments, and its result is that of the :class:`~octapi.Job`.  The result
of an ``async`` function is what awaiting it gives: that is done where the job runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar, Unpack, overload

from octapi.client.link import LOCAL
from octapi.errors import WorkerNotFound
from octapi.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from octapi.cluster import Cluster
    from octapi.job import Job
    from octapi.results import Results

    P = ParamSpec("P")
    T = TypeVar("T")
    A = TypeVar("A")
    B = TypeVar("B")
    C = TypeVar("C")
    D = TypeVar("D")
    E = TypeVar("E")

DEFAULTS = Options()
BUFFERSIZE = 100_000


class MapArguments(TypedDict, total=False):
    """How ``map`` goes about it; see :meth:`Calls.map`."""

    timeout: float | None
    chunksize: int
    buffersize: int | None
    ordered: bool


class Calls:
    """``submit`` and ``map`` with given options; what :meth:`Cluster.options` returns."""

    _options: Options = DEFAULTS

    def __init__(self, cluster: Cluster, options: Options) -> None:
        self._given = cluster
        self._options = options

    @property
    def _cluster(self) -> Cluster:
        return self._given

    @overload
    def submit(self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]: ...
    @overload
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]: ...
    def submit(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Job[Any]:
        """Run ``fn(*args, **kwargs)`` on the cluster, and return its :class:`~octapi.Job` at once."""
        if self._options.worker is not None:
            self._find_worker()
        return self._cluster._submit(self._options, fn, args, kwargs)

    # fmt: off
    @overload
    def map(self, fn: Callable[[A], Coroutine[Any, Any, T]], a: Iterable[A], /,
            **how: Unpack[MapArguments]) -> Results[T]: ...
    @overload
    def map(self, fn: Callable[[A], T], a: Iterable[A], /,
            **how: Unpack[MapArguments]) -> Results[T]: ...
    @overload
    def map(self, fn: Callable[[A, B], Coroutine[Any, Any, T]], a: Iterable[A], b: Iterable[B], /,
            **how: Unpack[MapArguments]) -> Results[T]: ...
    @overload
    def map(self, fn: Callable[[A, B], T], a: Iterable[A], b: Iterable[B], /,
            **how: Unpack[MapArguments]) -> Results[T]: ...
    @overload
    def map(self, fn: Callable[[A, B, C], Coroutine[Any, Any, T]], a: Iterable[A], b: Iterable[B], c: Iterable[C], /,
            **how: Unpack[MapArguments]) -> Results[T]: ...
    @overload
    def map(self, fn: Callable[[A, B, C], T], a: Iterable[A], b: Iterable[B], c: Iterable[C], /,
            **how: Unpack[MapArguments]) -> Results[T]: ...
    @overload
    def map(self, fn: Callable[[A, B, C, D], Coroutine[Any, Any, T]], a: Iterable[A], b: Iterable[B], c: Iterable[C],
            d: Iterable[D], /, **how: Unpack[MapArguments]) -> Results[T]: ...
    @overload
    def map(self, fn: Callable[[A, B, C, D], T], a: Iterable[A], b: Iterable[B], c: Iterable[C],
            d: Iterable[D], /, **how: Unpack[MapArguments]) -> Results[T]: ...
    @overload
    def map(self, fn: Callable[..., Coroutine[Any, Any, T]], a: Iterable[A], b: Iterable[B], c: Iterable[C],
            d: Iterable[D], e: Iterable[E], /, *more: Iterable[Any], **how: Unpack[MapArguments]) -> Results[T]: ...
    @overload
    def map(self, fn: Callable[..., T], a: Iterable[A], b: Iterable[B], c: Iterable[C],
            d: Iterable[D], e: Iterable[E], /, *more: Iterable[Any], **how: Unpack[MapArguments]) -> Results[T]: ...
    # fmt: on
    def map(
        self,
        fn: Callable[..., object],
        *iterables: Iterable[object],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = BUFFERSIZE,
        ordered: bool = True,
    ) -> Results[Any]:
        """Run ``fn`` over the items of the iterables, as :meth:`concurrent.futures.Executor.map`.

        The work starts at the call; at most ``buffersize`` results wait unread.  ``chunksize`` is
        accepted and not needed: batches are sized by measured time.  With ``ordered=False``
        results come as they are ready.  Closing the iterator stops the work.  What the jobs print is shown on
        stderr, the first 200 lines of it; an error that an item raises has a note of which item it was.
        """
        if self._options.worker is not None:
            self._find_worker()
        return self._cluster._map(self._options, fn, iterables, timeout, chunksize, buffersize, ordered)

    def _find_worker(self) -> None:
        wanted, names = self._options.worker, [worker.name for worker in self._cluster.workers()]
        may_come = self._options.wait_for_worker and self._cluster.engine.kind != LOCAL
        if wanted is not None and wanted not in names and not may_come:
            here = f"there are: {', '.join(sorted(names))}" if names else "no worker is there"
            raise WorkerNotFound(f"The worker {wanted!r} is not there; {here}.")
