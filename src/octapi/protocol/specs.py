"""What goes with a batch and with a computation from a script to the slots, beside numbers and digests.

Each table is a class whose fields carry their readers (:mod:`octapi.protocol.checked`).  Master and agents read it by
the same reader; what is refused costs a batch, a computation or a connection, as whoever reads it decides.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, TypedDict

from octapi.protocol import wire
from octapi.protocol.checked import (
    blob,
    boolean,
    by_type,
    choice,
    integer,
    listing,
    mapping,
    maybe,
    number,
    payload,
    plain,
    refuse,
    row,
    table,
    text,
)
from octapi.protocol.wire import Blob  # noqa: TC001 - type hints are read where messages are checked

#: the names of clusters, devices and logins
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
#: the most slots that a worker may have, and the most jobs of a batch
MOST_SLOTS: Final = 4096
MOST_JOBS: Final = 1 << 24
#: the most of anything else that a list or table of these may hold
MOST: Final = 1_000_000
#: the longest time that anything may say, in seconds: about a year
LONGEST_S: Final = 366 * 86_400.0

LABEL: Final = text(63)
COUNT: Final = integer(0, 1 << 62)
SECONDS: Final = number(0.0, LONGEST_S)
#: a time limit is more than no time
TIME_LIMIT: Final = maybe(number(5e-324, LONGEST_S))
#: a file: relative path, content, mode, time of change in epoch seconds
FILE: Final = row(text(4096), blob(), integer(0, 0o177777), number())
FILES: Final = listing(FILE, MOST)


def own_code(value: Any) -> list[Any]:
    """Read the source text and the files that a single job brings, or nothing."""
    if value is None or value == [] or value == ():
        return []
    found: list[Any] = row(blob(), FILES)(value)
    return found


def of_the_master(_: Any) -> Any:
    """Refuse what no script says."""
    raise refuse("only a master says that")


class BatchSpec(TypedDict, total=False):
    """One batch: what a client says of it to the master, and the master to a worker."""

    #: ``jobs`` or ``items``: what ``data`` is; see :data:`octapi.protocol.wire.JOBS`
    form: Annotated[str, choice(wire.JOBS, wire.JOB, wire.ITEMS)]
    #: msgpack of a list of pickled calls, or a pickle of the items of a ``map``
    data: Annotated[Blob, payload()]
    #: how many jobs it has
    jobs: Annotated[int, integer(1, MOST_JOBS)]
    #: how many of its jobs, from the first on, are not to run
    skip: Annotated[int, integer(0, MOST_JOBS)]
    #: the jobs' numbers in their queue: eight bytes each, or a number and the offset of the first
    ids: Annotated[bytes | list[int], by_type({bytes: blob(), list: listing(COUNT, 2), tuple: listing(COUNT, 2)})]
    #: the only worker that may run it
    worker: Annotated[str | None, maybe(LABEL)]
    #: source text and files of a single job's own
    extra: Annotated[list[Any], own_code]
    #: plain results of consecutive jobs may travel in one pickle
    grouped: Annotated[bool, boolean]
    #: nothing else may run on its worker meanwhile
    alone: Annotated[bool, boolean]
    #: workers where its job has killed a process
    avoid: Annotated[list[str], listing(LABEL, 100_000)]
    #: when its slot stops to begin jobs, and when a job is stopped, in seconds
    budget_s: Annotated[float, SECONDS]
    timeout_s: Annotated[float | None, TIME_LIMIT]
    #: an earlier process of the master had it, and nobody here knows more than its number
    gone: Annotated[bool, of_the_master]


class OwnFacts(TypedDict, total=False):
    """What one worker gets of a computation: the most jobs at once, setup arguments, files."""

    limit: Annotated[int | None, maybe(COUNT)]
    setup_args: Annotated[bytes | None, maybe(blob())]
    files: Annotated[list[Any] | None, maybe(FILES)]


#: later releases may say more, in plain values, here and below
own_facts: Final = table(OwnFacts, (), plain())


class ComputationFacts(TypedDict, total=False):
    """A computation, as the master must know it beside its code."""

    #: the most jobs at once by worker; None: any worker, with all its slots
    limits: Annotated[dict[str, int] | None, maybe(mapping(LABEL, integer(0, MOST_SLOTS), 100_000))]
    #: setup arguments and files of single workers, by name
    workers: Annotated[dict[str, dict[str, Any]] | None, maybe(mapping(LABEL, own_facts, 100_000))]
    #: the version of Python that can load it; empty for any
    python: Annotated[str | None, maybe(text(60))]
    #: the name of the function, for people
    name: Annotated[str | None, maybe(text(2000, is_shown=True))]


computation_facts: Final = table(ComputationFacts, (), plain())
#: a batch that is only named, as after another master's end, has no data
claimed: Final = table(BatchSpec, ("jobs",), plain())
_whole: Final = table(BatchSpec, ("form", "data", "jobs"), plain())


def batch(value: Any) -> BatchSpec:
    """Read a batch that is to run."""
    spec: BatchSpec = _whole(value)
    if spec.get("skip", 0) > spec["jobs"]:
        raise refuse(f"skip: {spec['skip']} is more than its {spec['jobs']} jobs")
    return spec
