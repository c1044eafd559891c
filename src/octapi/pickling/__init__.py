"""Pickling between a script and its jobs.

    script -- dumps -->  loads -- slot
    script <-- loads_result, loads_error --  dumps_result, dumps_error -- slot

What plain pickle does right is left to it.  A slot calls :func:`stand_for_main` before it loads anything, so that what
the script has at top level of ``__main__`` is found by name there.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
from typing import TYPE_CHECKING, Any, Final

from octapi.pickling import arriving, buffers, exceptions, homecoming
from octapi.pickling.arriving import REFERS

if TYPE_CHECKING:
    from collections.abc import Collection

    from octapi.pickling.buffers import Buffer

#: what stands before a result where it comes from, in bytes: the head of its record
RECORD_HEAD: Final = 25


def dumps_call(function: tuple[object, ...], args: tuple[object, ...], kwargs: dict[str, object]) -> bytes:
    """Pickle a call for a slot: by name where that works on a worker, else by value.

    ``function`` is empty when the slot has it already.  Large buffers lie beside the pickle.  Raises whatever pickling
    raises.
    """
    lifted, large = buffers.lift(args)
    return _dumps((*function, args, kwargs), (*function, lifted, kwargs), large)


def dumps(obj: object) -> bytes:
    """Pickle something for a slot, as :func:`dumps_call` does it."""
    return _dumps(obj, obj, ())


def _dumps(obj: object, lifted: object, large: Collection[int]) -> bytes:
    try:
        data, beside = buffers.dumps(lifted, large)
        if REFERS not in data:  # nothing in it is known by name
            return data
        if b"_main__" not in data and b"\x06object" not in data and not names_made_module(data):
            return buffers.join(data, beside)
    except Exception as error:  # pickling by value has the last word, and the better message
        del error
    from octapi.pickling import sending

    return sending.dumps(obj)


def names_made_module(data: bytes) -> bool:
    """Say whether a pickle names a module that was made without a file, so that workers cannot import it."""
    made = made_modules(len(sys.modules), next(reversed(sys.modules)))
    return bool(made) and any(name in data for name in made)


@functools.lru_cache(maxsize=1)
def made_modules(_count: int, _last: str) -> tuple[bytes, ...]:
    """Return the names of modules that were made without a file; the arguments tell one state of all from another."""
    there = list(sys.modules.items())
    made = [name for name, module in there if getattr(module, "__spec__", None) is None and name != arriving.MAIN]
    return tuple(
        name.encode() for name in made if getattr(sys.modules.get(name.partition(".")[0]), "__spec__", None) is None
    )


def loads(data: Buffer) -> Any:
    """Unpickle in a slot.  Raises whatever unpickling raises."""
    pickled, beside = buffers.split(data)
    try:
        return pickle.loads(pickled, buffers=beside)
    except Exception as error:
        try:
            return with_exceptions(exceptions.Tolerant(io.BytesIO(pickled), buffers=beside), error)
        except Exception:
            from octapi.pickling import failing

            failing.note(error, pickled)
            raise


def with_exceptions(unpickler: pickle.Unpickler, error: Exception) -> Any:
    """Unpickle again, past the constructors of exceptions; raise the first ``error`` if that was not why."""
    try:
        return unpickler.load()
    except Exception as second:
        raise error from second.__cause__


def dumps_result(obj: object) -> bytes:
    """Pickle for the script what a job returned, large buffers beside it.  Raises whatever pickling raises."""
    try:
        (lifted,), large = buffers.lift((obj,))
        data, beside = buffers.dumps(lifted, large)
        if arriving.is_plain(data):
            return buffers.join(data, beside, RECORD_HEAD)
    except Exception as error:  # pickling by value has the last word, and the better message
        del error
    from octapi.pickling import returning

    return returning.dumps(obj)


def loads_result(data: Buffer) -> Any:
    """Unpickle at home what a job returned, and leave what the script has as it is.  Raises what unpickling raises."""
    pickled, beside = buffers.split(data, RECORD_HEAD)
    from_here = b"octapi.pickling" in pickled
    try:
        if from_here:
            return homecoming.Unpickler(io.BytesIO(pickled), beside).load()
        return pickle.loads(pickled, buffers=beside)
    except Exception as error:
        return with_exceptions(homecoming.Tolerant(io.BytesIO(pickled), beside), error)


def dumps_error(error: BaseException) -> bytes:
    """Pack what a job raised, with its causes, contexts and members.  Raises whatever pickling its class raises."""
    return exceptions.pack(error, dumps_result)


def loads_error(data: bytes) -> BaseException:
    """Make an exception of a job again.  Raises whatever unpickling its class raises."""
    return exceptions.unpack(data, loads_result)


def stand_for_main() -> arriving.Main:
    """Put a new, empty module in the place of ``__main__``, to stand for the script's; return it."""
    main = arriving.Main()
    sys.modules[arriving.MAIN] = main
    return main
