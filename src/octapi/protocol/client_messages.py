"""What clients may say to the master.

Clients are people's scripts.  What one says of itself is read by all others, on terminals and on the page; what it
sends to workers is for its own batches and computations only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from octapi.errors import MessageRefused
from octapi.protocol.checked import (
    GREATEST,
    blob,
    boolean,
    choice,
    integer,
    left_out,
    listing,
    mapping,
    maybe,
    moment,
    number,
    or_refusal,
    payload,
    plain,
    record,
    row,
    text,
)
from octapi.protocol.messages import Channel, message, parse
from octapi.protocol.specs import (
    COUNT,
    FILE,
    LABEL,
    MOST_JOBS,
    SECONDS,
    BatchSpec,
    ComputationFacts,
    batch,
    claimed,
    computation_facts,
    own_facts,
)
from octapi.protocol.trace_bounds import BUCKETS, CAUSES, FEW, LINES, NAMES
from octapi.protocol.wire import Blob

if TYPE_CHECKING:
    from octapi.protocol.checked import Reader

WORD: Final = text(200, is_shown=True)
DIGEST: Final = text(80)
IDENT: Final = integer(0, 1 << 53)
#: the longest part of an upload, in bytes: as text it fits into one line between the master's processes
UPLOAD: Final = 8 << 20

#: who a client says that it is; a later release may say more, which nobody reads
HELLO: Final = record(
    {},
    {
        "protocol": integer(0, 1 << 31), "oldest": integer(0, 1 << 31), "release": text(60, is_shown=True),
        "python": text(60, is_shown=True), "script": text(1000, is_shown=True), "arguments": listing(text(1000), 1000),
        "run": text(80), "host": text(253, is_shown=True), "user": WORD, "pid": integer(),
        "session": text(80), "token": text(200), "recoverable": boolean, "again": boolean, "seen": COUNT,
        "absence_s": number(0, GREATEST),
    },
    rest=left_out,
)  # fmt: skip
CLAIM: Final = row(IDENT, DIGEST, claimed, COUNT, maybe(LABEL))

#: what a client may tell workers, and what follows the batch or computation that it is about; both must be its own
TOLD: Final[dict[str, tuple[Reader, ...]]] = {
    "cancel": (IDENT, integer(0, MOST_JOBS), SECONDS),
    "stop": (IDENT, SECONDS),
    "recall": (IDENT,),
    "forget": (DIGEST,),
    "renew": (DIGEST, own_facts),
    "file": (DIGEST, FILE),
}
#: those of them that are about a batch
OF_BATCHES: Final = ("cancel", "stop", "recall")

#: seconds, and sums of jobs: how many ended well, how many failed, seconds of slots
SPAN: Final = number(-1e12, 1e12)
SUM: Final = (number(0, 1e15), number(0, 1e15), SPAN)
OUTCOME: Final = text(10)
STORY: Final = record(
    {
        "began": moment, "first": maybe(number(-1e9, 2e11)), "last": maybe(number(-1e9, 2e11)),
        "width_s": number(1e-3, 1e12), "done": COUNT, "failed": COUNT, "cancelled": COUNT, "retried": COUNT,
        "unheard": COUNT, "is_few": boolean, "busy_s": number(0, 1e15), "anew": boolean,
        "workers": listing(row(text(200), *SUM), 2 * NAMES), "functions": listing(row(text(2000), *SUM), 2 * NAMES),
        "buckets": listing(row(text(200), integer(0, BUCKETS - 1), *SUM), 2 * NAMES * BUCKETS),
        "causes": listing(record({"key": text(10_000), "count": COUNT}, {"at": moment}, rest=plain(2, 100, 1 << 20)),
                          CAUSES + 1),
        "pieces": listing(row(SPAN, SPAN, text(200), text(2000), OUTCOME, COUNT), 2 * FEW),
        "output": listing(listing(text(10_000), 4), 2 * LINES),
    },
    {"whole": boolean},
)  # fmt: skip
SUMMARY: Final = record(
    {},
    {
        "waiting": COUNT, "running": COUNT, "done": COUNT, "failed": COUNT, "slots": COUNT,
        "functions": listing(WORD, 10_000),
        "story": maybe(or_refusal(STORY)),  # a false one is left out, for jobs matter more
    },
    rest=plain(),
)  # fmt: skip

#: what somebody wants that is kept of a run, or of a client
FETCH: Final = record({}, {"run": text(80), "token": text(200)})
QUESTIONS: Final[dict[str, Reader]] = {
    "submit": record(
        {"script": text(1000)}, {"arguments": listing(text(100_000), 10_000), "restartable": boolean}, rest=left_out
    ),
    "upload": record(
        {"run": text(80), "name": text(4096), "data": blob(UPLOAD), "mode": integer(0, 0o7777), "first": boolean}
    ),
    "launch": record({"run": text(80)}),
    "log": record({"run": text(80), "offset": integer(-(1 << 62), 1 << 62)}, rest=left_out),
    "stop": record({"run": text(80)}, rest=left_out),
}


def question(value: Any) -> dict[str, Any]:
    """Read what somebody asks of runs."""
    if type(value) is not dict or type(value.get("op")) is not str or value["op"] not in QUESTIONS:
        raise MessageRefused("it is no question about runs")
    found: dict[str, Any] = QUESTIONS[value["op"]]({key: part for key, part in value.items() if key != "op"})
    return found | {"op": value["op"]}


def told(value: Any) -> list[Any]:
    """Read what a client tells workers."""
    if type(value) not in (list, tuple) or not value or type(value[0]) is not str or value[0] not in TOLD:
        raise MessageRefused("a client may not tell that to workers")
    return [value[0], *row(*TOLD[value[0]])(value[1:])]


@message(Channel.CLIENT, "bye")
class Bye(NamedTuple):
    """The client ends as it should."""


@message(Channel.CLIENT, "seen")
class Seen(NamedTuple):
    """It has all frames up to this number."""

    number: Annotated[int, COUNT]


@message(Channel.CLIENT, "summary")
class Summary(NamedTuple):
    """How far its jobs are, and what is new in the story of its run."""

    facts: Annotated[dict[str, Any], SUMMARY]


@message(Channel.CLIENT, "define", must_arrive=True)
class Define(NamedTuple):
    """A computation, by the digest of what it is, or other facts of one."""

    digest: Annotated[str, DIGEST]
    spec: Annotated[Blob, payload()]
    facts: Annotated[ComputationFacts, computation_facts]


@message(Channel.CLIENT, "run", must_arrive=True)
class Run(NamedTuple):
    """A batch of jobs; ``queue`` is the number of its queue in the client.

    A specification that is refused ends the batch, not the connection, which other batches need.
    """

    ident: Annotated[int, IDENT]
    queue: Annotated[int, integer()]
    digest: Annotated[str, DIGEST]
    spec: Annotated[BatchSpec | MessageRefused, or_refusal(batch)]


@message(Channel.CLIENT, "tell", must_arrive=True)
class Tell(NamedTuple):
    """Something for one worker, or for all, about a batch or a computation of its own."""

    worker: Annotated[str | None, maybe(LABEL)]
    message: Annotated[list[Any], told]


@message(Channel.CLIENT, "claim", must_arrive=True)
class Claim(NamedTuple):
    """The batches that an earlier process of the master had; ``epochs`` are the workers' as it knew them, by name.

    A row is a batch's number, its computation, its facts, how many messages of it came, and its worker if known.
    """

    epochs: Annotated[dict[str, str], mapping(LABEL, text(60), 100_000)]
    rows: Annotated[list[list[Any]], listing(CLAIM, 1_000_000)]


@message(Channel.CLIENT, "jobs")
class Jobs(NamedTuple):
    """It asks which scripts run."""


@message(Channel.CLIENT, "nodes")
class Nodes(NamedTuple):
    """It asks who is in, and how their certificates stand."""


@message(Channel.CLIENT, "runs")
class Runs(NamedTuple):
    """It asks for the latest runs."""

    limit: Annotated[int, integer(0, 10_000)] = 100


@message(Channel.CLIENT, "manage")
class Manage(NamedTuple):
    """Something about a submitted script: one of :data:`QUESTIONS`."""

    question: Annotated[dict[str, Any], plain()]


@message(Channel.CLIENT, "watch")
class Watch(NamedTuple):
    """It wants to see what happens, or does not any more."""

    wanted: Annotated[bool, boolean]


@message(Channel.CLIENT, "stop_job")
class StopJob(NamedTuple):
    """Stop the job of a client's batch that runs now."""

    client: Annotated[int, COUNT]
    ident: Annotated[int, IDENT]


@message(Channel.CLIENT, "stop")
class Stop(NamedTuple):
    """Stop the jobs of a client."""

    client: Annotated[int, COUNT]


@message(Channel.CLIENT, "fetch")
class Fetch(NamedTuple):
    """It wants what is kept of a run, or of a client that is gone."""

    wanted: Annotated[dict[str, Any], FETCH]


@message(Channel.CLIENT, "settled")
class Settled(NamedTuple):
    """It has all that it wanted to fetch: nobody need keep it."""


@message(Channel.CLIENT, "drain")
class Drain(NamedTuple):
    """A worker is to take no more batches, or some again."""

    worker: Annotated[str, LABEL]
    is_on: Annotated[bool, boolean]


@message(Channel.CLIENT, "metrics")
class Metrics(NamedTuple):
    """It asks what the master counts."""


@message(Channel.CLIENT, "courses")
class Courses(NamedTuple):
    """It asks for load and memory of workers over the last half hour."""

    workers: Annotated[list[str], listing(LABEL, 100)]


def said(value: Any) -> Any:
    """Return what a client says as a message.  Raises :exc:`MessageRefused`."""
    return parse(Channel.CLIENT, value)


def greeting(message: Any) -> dict[str, Any]:
    """Return the facts of a client's first message.  Raises :exc:`MessageRefused`."""
    _, facts = row(choice("hello"), HELLO)(message)
    found: dict[str, Any] = facts
    return found
