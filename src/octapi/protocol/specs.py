"""What goes with a batch and with a computation from a script to the slots, beside numbers and digests."""

from __future__ import annotations

import re
from typing import Any, Final, TypedDict

from octapi.protocol.wire import Blob  # noqa: TC001 - type hints are read where messages are checked

#: the names of clusters, devices and logins
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
#: the most slots that a worker may have
MOST_SLOTS: Final = 4096


class BatchSpec(TypedDict, total=False):
    """One batch: what a client says of it to the master, and the master to a worker."""

    #: ``jobs`` or ``items``: what ``data`` is; see :data:`octapi.protocol.wire.JOBS`
    form: str
    #: msgpack of a list of pickled calls, or a pickle of the items of a ``map``
    data: Blob
    #: how many jobs it has
    jobs: int
    #: how many of its jobs, from the first on, are not to run
    skip: int
    #: the jobs' numbers in their queue: eight bytes each, or a number and the offset of the first
    ids: bytes | list[int]
    #: the only worker that may run it
    worker: str | None
    #: source text and files of a single job's own
    extra: Any
    #: plain results of consecutive jobs may travel in one pickle
    grouped: bool
    #: nothing else may run on its worker meanwhile
    alone: bool
    #: workers where its job has killed a process
    avoid: list[str]
    #: when its slot stops to begin jobs, and when a job is stopped, in seconds
    budget_s: float
    timeout_s: float | None
    #: an earlier process of the master had it, and nobody here knows more than its number
    gone: bool


class ComputationFacts(TypedDict, total=False):
    """A computation, as the master must know it beside its code."""

    #: the most jobs at once by worker; None: any worker, with all its slots
    limits: dict[str, int] | None
    #: setup arguments and files of single workers, by name
    workers: dict[str, dict[str, Any]] | None
    #: the version of Python that can load it; empty for any
    python: str | None
    #: the name of the function, for people
    name: str | None
