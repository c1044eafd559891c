"""What clients may say to the gateway, by its kind: see :mod:`octapi.protocol.checked`.

Clients are people's scripts.  What one says of itself is read by all others, on terminals and on the page; what it
sends to workers is for its own batches and computations only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

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
    plain,
    record,
    row,
    text,
)
from octapi.telemetry.run_trace import BUCKETS, CAUSES, FEW, LINES, NAMES
from octapi.trust.address_owners import MOST_SLOTS

if TYPE_CHECKING:
    from octapi.protocol.checked import Reader

WORD: Final = text(200, is_shown=True)
NAME: Final = text(63)
DIGEST: Final = text(80)
COUNT: Final = integer(0, 1 << 62)
IDENT: Final = integer(0, 1 << 53)
#: the most jobs of a batch: its records count them in 32 bits
JOBS: Final = integer(0, (1 << 32) - 1)
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
#: what is to be known of a computation beside its code
FACTS: Final = record(
    {},
    {
        "limits": maybe(mapping(NAME, integer(0, MOST_SLOTS), 100_000)),
        "python": maybe(text(60)),
        "name": maybe(text(2000, is_shown=True)),
        "workers": maybe(mapping(NAME, plain(6), 100_000)),
    },
    rest=plain(),
)
#: what is to be known of a batch; one that is claimed has no data
BATCH: Final = record(
    {"jobs": JOBS},
    {
        "data": blob(), "form": text(20), "skip": JOBS, "worker": maybe(NAME), "alone": boolean,
        "avoid": listing(NAME, 100_000), "grouped": boolean, "timeout_s": maybe(number(0)), "budget_s": number(0),
    },
    rest=plain(),
)  # fmt: skip
CLAIM: Final = row(IDENT, DIGEST, BATCH, COUNT, maybe(NAME))

#: what a client may tell workers, and what follows the batch or computation that it is about; both must be its own
TOLD: Final[dict[str, tuple[Reader, ...]]] = {
    "cancel": (IDENT, JOBS, number(0)),
    "stop": (IDENT, number(0)),
    "recall": (IDENT,),
    "forget": (DIGEST,),
    "renew": (DIGEST, plain()),
    "file": (DIGEST, row(text(4096), blob(), integer(0, 0o7777), number(0))),
}
#: those of them that are about a batch
OF_BATCHES: Final = ("cancel", "stop", "recall")

SUMMARY: Final = record(
    {},
    {
        "waiting": COUNT, "running": COUNT, "done": COUNT, "failed": COUNT, "slots": COUNT,
        "functions": listing(WORD, 10_000),
        "story": lambda news: news,  # it is read by itself, for jobs matter more
    },
    rest=plain(),
)  # fmt: skip

#: seconds, and sums of jobs: how many ended well, how many failed, seconds of slots
SECONDS: Final = number(-1e12, 1e12)
SUM: Final = (number(0, 1e15), number(0, 1e15), SECONDS)
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
        "pieces": listing(row(SECONDS, SECONDS, text(200), text(2000), OUTCOME, COUNT), 2 * FEW),
        "output": listing(listing(text(10_000), 4), 2 * LINES),
    },
    {"whole": boolean},
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


#: every kind of message of a client, with what must and what may follow it
KINDS: Final[dict[str, tuple[tuple[Reader, ...], tuple[Reader, ...]]]] = {
    "bye": ((), ()),
    "seen": ((COUNT,), ()),
    "summary": ((SUMMARY,), ()),
    "define": ((DIGEST, blob(), FACTS), ()),
    "run": ((IDENT, integer(), DIGEST, BATCH), ()),
    "tell": ((maybe(NAME), told), ()),
    "claim": ((mapping(NAME, text(60), 100_000), listing(CLAIM, 1_000_000)), ()),
    "jobs": ((), ()),
    "nodes": ((), ()),
    "runs": ((), (integer(0, 10_000),)),
    "manage": ((plain(),), ()),
    "watch": ((boolean,), ()),
    "courses": ((listing(NAME, 100),), ()),
    "stop_job": ((COUNT, IDENT), ()),
    "stop": ((COUNT,), ()),
    "fetch": ((FETCH,), ()),
    "settled": ((), ()),
    "drain": ((NAME, boolean), ()),
    "metrics": ((), ()),
}


def said(message: Any) -> tuple[str, list[Any]]:
    """Return the kind and the rest of a client's message.  Raises :exc:`MessageRefused`."""
    if type(message) not in (list, tuple) or not message or type(message[0]) is not str or message[0] not in KINDS:
        kind = message[0] if type(message) in (list, tuple) and message else message
        raise MessageRefused(f"a client says no {kind!r:.40}")
    needed, more = KINDS[message[0]]
    rest = message[1:]
    readers = (*needed, *more[: max(0, len(rest) - len(needed))])
    return message[0], row(*readers)(rest)


def greeting(message: Any) -> dict[str, Any]:
    """Return the facts of a client's first message.  Raises :exc:`MessageRefused`."""
    _, facts = row(choice("hello"), HELLO)(message)
    found: dict[str, Any] = facts
    return found
