"""From a computation's bytes to a callable with fresh globals for each job."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from octapi import pickling
from octapi.errors import JobError
from octapi.pool import harmless, source_text
from octapi.pool.source_text import compiled, execute
from octapi.protocol import computation as kinds

if TYPE_CHECKING:
    from octapi.pool.namespace import Namespace
    from octapi.protocol.computation import Computation

Call = Callable[..., Any]
#: makes the callable of one job; its argument is source text for that job only, or b""
Fresh = Callable[[bytes], Call]


class Prepared(NamedTuple):
    """A computation that is ready for jobs.

    ``fresh`` makes the callable of each; harmless ones may run in the slot itself.  With ``takes_function`` each job
    brings its own callable.  ``check`` raises what hinders it, where that could not be found out without running it.
    ``same`` is the callable of all jobs if none of them can change what it reaches.
    """

    fresh: Fresh
    is_harmless: bool = False
    takes_function: bool = False
    check: Callable[[], object] | None = None
    same: Call | None = None


def base_names(computation: Computation, namespace: Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """Return the names that source text finds without importing anything."""
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__, "__doc__": None}
    if computation.preimport:
        names.update(namespace.of_text(computation.code.decode()))
    names.update(given)
    return names


def from_source(computation: Computation, namespace: Namespace, given: dict[str, Any]) -> Prepared:
    """Execute the text anew for each job in ``__main__``, whose classes then pickle by name."""
    text = computation.code.decode()
    codes = compiled(text)
    entry = compile(computation.entry, "<entry>", "eval")
    module = types.ModuleType("__main__")
    names = module.__dict__
    base = base_names(computation, namespace, given)
    sys.modules["__main__"] = module

    def fresh(more: bytes) -> Call:
        names.clear()
        names.update(base)
        if more:
            names.update(namespace.of_text(more.decode()))
            names.update(given)
            execute(compiled(more.decode()), names)
        execute(codes, names)
        call: Call = eval(entry, names)
        return call

    if not all(map(harmless.only_defines, codes)):
        return Prepared(fresh, check=lambda: fresh(b""))
    call = fresh(b"")
    verdict = harmless.look(call)
    return Prepared(fresh, verdict.is_harmless, same=call if verdict.is_plain and verdict.is_harmless else None)


def from_setup(computation: Computation, names: dict[str, Any]) -> Prepared:
    """Use the namespace as setup left it: each job runs in a forked process of its own."""
    entry = compile(computation.entry, "<entry>", "eval")

    def fresh(more: bytes) -> Call:
        if more:
            execute(compiled(more.decode()), names)
        call: Call = eval(entry, names)
        return call

    return Prepared(fresh)


def from_pickle(code: bytes) -> Prepared:
    """Load a pickled callable; each job of it sees it, and the script's globals, as they were sent.

    One that is not harmless needs no care: each of its jobs has a process of its own.
    """
    loaded: Call = pickling.loads(code)
    verdict = harmless.look(loaded)
    if verdict.is_plain or not verdict.is_harmless:
        return Prepared(lambda more: loaded, verdict.is_harmless, same=loaded if verdict.is_harmless else None)

    def fresh(more: bytes) -> Call:
        pickling.stand_for_main()
        call: Call = pickling.loads(code)
        return call

    return Prepared(fresh, is_harmless=True)


def load(computation: Computation, namespace: Namespace, given: dict[str, Any]) -> Prepared:
    """Prepare a computation; whatever its code raises while it is loaded goes to the caller."""
    if computation.kind == kinds.SOURCE:
        return from_source(computation, namespace, given)
    if computation.kind == kinds.PROGRAM:
        from octapi.pool.program import runner

        return Prepared(runner(computation))
    pickling.stand_for_main()
    source_text.install(computation.sources)
    if computation.kind == kinds.CALL:
        return Prepared(no_function, is_harmless=True, takes_function=True)
    return from_pickle(computation.code)


def no_function(more: bytes) -> Call:
    """Never asked: the jobs bring their own."""
    raise JobError("This computation has no function of its own; each job brings one.")
