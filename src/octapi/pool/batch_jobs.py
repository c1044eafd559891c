"""The jobs of one batch as a slot sees them: what is to be called, with what."""

from __future__ import annotations

import inspect
import io
import pickle
from typing import TYPE_CHECKING, Any, Final

from octapi import pickling
from octapi.pickling.arriving import REFERS
from octapi.pickling.buffers import split
from octapi.pool import harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.pool.loaded_computation import LoadedComputation

#: what such a reference may name in arguments of harmless jobs
PLAIN: Final = frozenset(
    [
        ("builtins", "bytes"), ("builtins", "complex"), ("builtins", "range"), ("builtins", "slice"),
        ("builtins", "bytearray"), ("builtins", "frozenset"), ("builtins", "set"), ("collections", "deque"),
        ("collections", "OrderedDict"), ("collections", "Counter"), ("datetime", "date"), ("datetime", "datetime"),
        ("datetime", "time"), ("datetime", "timedelta"), ("decimal", "Decimal"), ("fractions", "Fraction"),
        ("numpy", "dtype"), ("numpy", "ndarray"), ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"), ("numpy._core.numeric", "_frombuffer"),
        ("numpy.core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar"),
        ("numpy.core.numeric", "_frombuffer"), ("_codecs", "encode"),
    ]
)  # fmt: skip

#: what it may name besides where each job brings its function: these make one, and run nothing of it
MAKES_FUNCTIONS: Final = frozenset(
    [("marshal", "loads")]
    + [
        ("octapi.pickling.arriving", name)
        for name in ("function_of_main", "function_apart", "function_state", "cell", "cell_state")
    ]
)

Call = tuple["Callable[..., Any]", tuple[Any, ...], dict[str, Any]]


class BatchJobs:
    """A batch's computation, the form of its payloads, and the source text of this batch alone."""

    def __init__(self, loaded: LoadedComputation, items: bool, more: bytes) -> None:
        self.loaded = loaded
        self.items = items
        self.more = more
        prepared = loaded.prepared
        self.fresh = prepared.fresh
        self.same = prepared.same
        #: the callable of plain items, which nothing else has to be looked at for
        self.of_items = self.same if items else None
        self.takes_function = prepared.takes_function
        self.is_harmless = prepared.is_harmless and not more

    def harmless(self, payload: Any) -> Call | None:
        """Return the call of a harmless job with fresh globals; None if its arguments may hold anything."""
        if self.items:
            return self.same or self.fresh(b""), payload, {}
        if self.takes_function:
            return self._own(payload)
        args, kwargs = plain(payload, PLAIN) or (None, {})
        return None if args is None else (self.same or self.fresh(b""), args, kwargs)

    def _own(self, payload: Any) -> Call | None:
        """Return the call of a job that brings its own function, if that is harmless."""
        pickling.stand_for_main()
        found: Call | None = plain(payload, PLAIN | MAKES_FUNCTIONS)
        return found if found is not None and harmless.look(found[0]).is_harmless else None

    def run(self, payload: Any) -> Any:
        """Run a job; a coroutine is awaited."""
        if self.items:
            result = self.fresh(self.more)(*payload)
        elif self.takes_function:
            function, args, kwargs = pickling.loads(payload)
            result = function(*args, **kwargs)
        else:
            function = self.fresh(self.more)
            args, kwargs = pickling.loads(payload)
            result = function(*args, **kwargs)
        if inspect.iscoroutine(result):
            import asyncio

            return asyncio.run(result)
        return result


class _Guarded(pickle.Unpickler):
    """Reads plain data, and nothing that could run code of a script."""

    def __init__(self, pickled: Any, buffers: list[memoryview], allowed: frozenset[tuple[str, str]]) -> None:
        super().__init__(io.BytesIO(pickled), buffers=buffers)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError
        return super().find_class(module, name)


def plain(payload: Any, allowed: frozenset[tuple[str, str]]) -> Any:
    """Unpickle what refers to nothing but what is allowed; None if it may be anything else."""
    pickled, buffers = split(payload)
    if REFERS not in pickled:
        return pickle.loads(pickled)
    try:
        return _Guarded(pickled, buffers, allowed).load()
    except pickle.UnpicklingError:
        return None
