"""The jobs of one batch as a slot sees them: what is to be called, with what."""

from __future__ import annotations

import inspect
import io
import pickle
from typing import TYPE_CHECKING, Any, Final

from octapi import pickling

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.worker.loaded import Loaded

#: the opcode by which a pickle refers to anything that is not plain data; without it nothing can run
REFERS: Final = pickle.STACK_GLOBAL
#: what such a reference may name in arguments of harmless jobs
PLAIN: Final = frozenset(
    [
        ("builtins", "complex"), ("builtins", "range"), ("builtins", "slice"), ("builtins", "bytearray"),
        ("builtins", "frozenset"), ("builtins", "set"), ("collections", "deque"), ("collections", "OrderedDict"),
        ("collections", "Counter"), ("datetime", "date"), ("datetime", "datetime"), ("datetime", "time"),
        ("datetime", "timedelta"), ("decimal", "Decimal"), ("fractions", "Fraction"), ("numpy", "dtype"),
        ("numpy", "ndarray"), ("numpy._core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"), ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"), ("numpy.core.numeric", "_frombuffer"), ("_codecs", "encode"),
    ]
)  # fmt: skip

Call = tuple["Callable[..., Any]", tuple[Any, ...], dict[str, Any]]


class Work:
    """A batch's computation, the form of its payloads, and the source text of this batch alone."""

    def __init__(self, loaded: Loaded, items: bool, more: bytes) -> None:
        self.loaded = loaded
        self.items = items
        self.more = more
        prepared = loaded.prepared
        self.fresh = prepared.fresh
        self.takes_function = prepared.takes_function
        self.is_harmless = prepared.is_harmless and not more

    def harmless(self, payload: Any) -> Call | None:
        """Return the call of a harmless job with fresh globals; None if its arguments may hold anything."""
        if self.items:
            return self.fresh(b""), payload, {}
        found = plain(payload)
        return None if found is None else (self.fresh(b""), *found)

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

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PLAIN:
            raise pickle.UnpicklingError
        return super().find_class(module, name)


def plain(payload: bytes) -> Any:
    """Unpickle arguments if they are plain data; None if they may be anything else."""
    if REFERS not in payload:
        return pickle.loads(payload)
    try:
        return _Guarded(io.BytesIO(payload)).load()
    except pickle.UnpicklingError:
        return None
