"""What workers may say to the gateway, by its kind: see :mod:`octapi.protocol.checked`.

A worker may be stolen, and repeats words of jobs.  What it says of itself ends in tables, on terminals and in the
database; what it says of batches goes to their clients.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from octapi.errors import JobError, MessageRefused
from octapi.protocol.checked import (
    blob,
    boolean,
    choice,
    integer,
    listing,
    mapping,
    moment,
    number,
    plain,
    record,
    row,
    text,
)
from octapi.protocol.computation import safe
from octapi.trust.address_owners import MOST_SLOTS
from octapi.trust.names import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

#: a batch that a worker has: the session of its client, and its number there
KEY: Final = row(text(80), integer())
DIGEST: Final = text(80)
INDEX: Final = integer(0, (1 << 32) - 1)
#: what a device measures of itself; what a later release measures more is a number too
HEALTH: Final = mapping(text(40), number(-1e15, 1e15), 50)
ADDRESS: Final = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9.:_%\]-]{0,252}")
#: what a worker says of itself; clients read it, and the database keeps it
FACTS: Final[dict[str, Callable[[Any], Any]]] = {
    "name": text(63, NAME),
    "address": text(253, ADDRESS),
    "host": text(253, is_shown=True),
    "slots": integer(1, MOST_SLOTS),
    "platform": text(300, is_shown=True),
    "python": text(60, re.compile(r"[0-9]+(\.[0-9A-Za-z+-]+)*")),
    "memory": integer(0, 1 << 60),
    "health": HEALTH,
    "release": text(60, is_shown=True),
    "life": text(60, is_shown=True),
}
VERSIONS: Final = {"protocol": integer(0, 1 << 31), "oldest": integer(0, 1 << 31)}
HELLO: Final = record(
    FACTS | VERSIONS,
    {
        "ssh": plain(2, 20, 2000),
        "metrics": plain(2, 20, 2000),
        "no_dask": boolean,
        "dask_apart": boolean,
        "batches": listing(KEY, 1_000_000),
        "computations": listing(DIGEST, 100_000),
    },
    rest=plain(4, 1000, 100_000),
)


def path_inside(value: Any) -> str:
    """Read the name of a file that a job sends: relative, and below the directory where it is to go."""
    found: str = text(4096)(value)
    try:
        safe(found)
    except JobError as error:
        raise MessageRefused(f"the file's name leaves its directory ({error!s:.80})") from None
    return found


#: what becomes of a batch: why it ended, before which job, and more of a process that died
END: Final = (choice("done", "returned", "refused", "died", "dropped", "cut"), INDEX, plain(4, 1000, 1 << 22))
#: of each kind of message about a batch, what follows the batch
BATCH: Final[dict[str, tuple[Callable[[Any], Any], ...]]] = {
    "begun": (INDEX,),
    "results": (blob(),),
    "provisional": (INDEX, blob()),
    "file": (INDEX, path_inside, blob(), integer(0, 0o7777), moment),
    "cut": (INDEX,),
    "end": END,
    "dropped": END,
    "replaying": (),
}
#: the same of messages about a computation
COMPUTATION: Final[dict[str, tuple[Callable[[Any], Any], ...]]] = {
    "ready": (),
    "closed": (),
    "refused": (text(1 << 20),),
}


def said(message: Any) -> tuple[str, Any, list[Any]]:
    """Return kind, subject and the rest of a worker's message.  Raises :exc:`MessageRefused`."""
    if type(message) not in (list, tuple) or len(message) < 2 or type(message[0]) is not str:
        raise MessageRefused("it is no message of a worker")
    kind, subject, *rest = message
    if kind == "hello":
        return kind, HELLO(subject), []
    if kind == "health":
        return kind, HEALTH(subject), []
    if kind in COMPUTATION:
        return kind, DIGEST(subject), row(*COMPUTATION[kind])(rest)
    if kind in BATCH:
        return kind, tuple(KEY(subject)), rest
    raise MessageRefused(f"a worker says no {kind[:20]!r}")


def of_batch(kind: str, rest: list[Any], jobs: int) -> list[Any]:
    """Return what a worker says of a batch of so many jobs.  Raises :exc:`MessageRefused`."""
    found: list[Any] = row(*BATCH[kind])(rest)
    place = found[1] if kind in ("end", "dropped") else found[0] if kind in ("begun", "provisional", "file") else 0
    if place > jobs or (place == jobs and kind not in ("end", "dropped")):
        raise MessageRefused(f"there is no job {place} in a batch of {jobs}")
    return found
