"""What workers may say to the master.

A worker may be stolen, and repeats words of jobs.  What it says of itself ends in tables, on terminals and in the
database; what it says of batches goes to their clients.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from octapi.errors import JobError, MessageRefused
from octapi.protocol.checked import (
    boolean,
    choice,
    integer,
    listing,
    mapping,
    moment,
    number,
    payload,
    plain,
    record,
    row,
    text,
)
from octapi.protocol.computation import safe
from octapi.protocol.messages import Channel, message, parse
from octapi.protocol.specs import MOST_SLOTS, NAME
from octapi.protocol.wire import Blob

if TYPE_CHECKING:
    from collections.abc import Callable

#: a batch that a worker has: the session of its client, and its number there; a script alone has only numbers
Key = int | tuple[str, int]


def read_key(value: Any) -> tuple[str, int]:
    """Read which batch is meant."""
    session, ident = row(text(80), integer())(value)
    return session, ident


KEY: Final = read_key
DIGEST: Final = text(80)
REASON: Final = choice("done", "returned", "refused", "died", "dropped", "cut")
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


@message(Channel.WORKER, "hello")
class Hello(NamedTuple):
    """Who a worker is, what it offers, and what it has of batches and computations."""

    facts: Annotated[dict[str, Any], HELLO]


@message(Channel.WORKER, "health")
class Health(NamedTuple):
    """How a worker is: free CPU %, available memory and disk in bytes, free swap %, and what else it measures."""

    measured: Annotated[dict[str, float], HEALTH]


# ---- of computations


@message(Channel.WORKER, "ready")
class Ready(NamedTuple):
    """A computation is set up."""

    digest: Annotated[str, DIGEST]


@message(Channel.WORKER, "closed")
class Closed(NamedTuple):
    """A computation was cleaned up."""

    digest: Annotated[str, DIGEST]


@message(Channel.WORKER, "refused")
class Refused(NamedTuple):
    """A computation could not be loaded or set up; ``text`` is the traceback."""

    digest: Annotated[str, DIGEST]
    text: Annotated[str, text(1 << 20)]


# ---- of batches


@message(Channel.WORKER, "begun")
class Begun(NamedTuple):
    """A slot runs this job of a batch now."""

    key: Annotated[Key, KEY]
    job: Annotated[int, INDEX]


@message(Channel.WORKER, "results", must_arrive=True)
class Results(NamedTuple):
    """Records of what came of jobs: see :mod:`octapi.protocol.records`."""

    key: Annotated[Key, KEY]
    records: Annotated[Blob, payload()]


@message(Channel.WORKER, "provisional", must_arrive=True)
class Provisional(NamedTuple):
    """A job hands in a provisional result, pickled."""

    key: Annotated[Key, KEY]
    job: Annotated[int, INDEX]
    data: Annotated[Blob, payload()]


@message(Channel.WORKER, "file", must_arrive=True)
class SentFile(NamedTuple):
    """A job sends a file: relative path, content, mode, and time of change in epoch seconds."""

    key: Annotated[Key, KEY]
    job: Annotated[int, INDEX]
    path: Annotated[str, path_inside]
    data: Annotated[Blob, payload()]
    mode: Annotated[int, integer(0, 0o7777)]
    mtime: Annotated[float, moment]


@message(Channel.WORKER, "cut", must_arrive=True)
class Cut(NamedTuple):
    """The jobs from this one on will not run here; the others go on."""

    key: Annotated[Key, KEY]
    job: Annotated[int, INDEX]


@message(Channel.WORKER, "end", must_arrive=True)
class End(NamedTuple):
    """A batch is over: why, before which job, and more of a process that died."""

    key: Annotated[Key, KEY]
    reason: Annotated[str, REASON]
    stop: Annotated[int, INDEX]
    info: Annotated[dict[str, Any], plain(4, 1000, 1 << 22)]


@message(Channel.WORKER, "dropped")
class Dropped(NamedTuple):
    """A batch that nobody waits for is over."""

    key: Annotated[Key, KEY]
    reason: Annotated[str, REASON]
    stop: Annotated[int, INDEX]
    info: Annotated[dict[str, Any], plain(4, 1000, 1 << 22)]


@message(Channel.WORKER, "replaying")
class Replaying(NamedTuple):
    """What a worker says of a batch from here on, its client has not heard."""

    key: Annotated[Key, KEY]


#: messages about computations, and about batches
OfComputation = Ready | Closed | Refused
OfBatch = Begun | Results | Provisional | SentFile | Cut | End | Dropped | Replaying
#: those that must reach the client once; the rest is news that may be missed
LASTING = (Results, Provisional, SentFile, Cut, End)


def said(value: Any) -> Any:
    """Return what a worker says as a message.  Raises :exc:`MessageRefused`."""
    if type(value) not in (list, tuple) or len(value) < 2 or type(value[0]) is not str:
        raise MessageRefused("it is no message of a worker")
    return parse(Channel.WORKER, value)


def check_places(news: OfBatch, jobs: int) -> None:
    """Raise :exc:`MessageRefused` when a worker speaks of a job that a batch of so many jobs does not have."""
    place, last = 0, jobs - 1
    if isinstance(news, End | Dropped):
        place, last = news.stop, jobs
    elif isinstance(news, Begun | Provisional | SentFile):
        place = news.job
    if place > last:
        raise MessageRefused(f"there is no job {place} in a batch of {jobs}")
