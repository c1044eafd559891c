"""Whether what came over the wire can be used: types, ranges and finiteness, before anything is done with it.

Each function returns what is wrong in words, or an empty text.  They read plain values, and raise nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from octapi.protocol import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: the longest time that anything may say, in seconds: about a year
LONGEST_S: Final = 366 * 86_400.0
#: the most jobs that a batch may have, and the largest number of anything
MOST_JOBS: Final = 1 << 24
LARGEST: Final = 1 << 62


def is_count(value: Any) -> bool:
    """Say whether a value is a whole number from 0 on."""
    return type(value) is int and 0 <= value <= LARGEST


def count(value: Any) -> int:
    """Return a whole number from 0 on, or 0 for anything else."""
    return int(value) if is_count(value) else 0


def is_time(value: Any) -> bool:
    """Say whether a value is a time in seconds that timers can take."""
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= LONGEST_S


def is_limit(value: Any) -> bool:
    """Say whether a value is a time limit in seconds."""
    return value is None or (is_time(value) and value > 0)


def is_text(value: Any) -> bool:
    """Say whether a value is a text."""
    return isinstance(value, str)


def is_bytes(value: Any) -> bool:
    """Say whether a value is bytes."""
    return isinstance(value, bytes)


def is_blob(value: Any) -> bool:
    """Say whether a value is bytes, in the head of a message or beside it."""
    return isinstance(value, bytes | wire.Payload)


def is_flag(value: Any) -> bool:
    """Say whether a value is a yes or no."""
    return isinstance(value, bool)


def is_texts(value: Any) -> bool:
    """Say whether a value is a list of texts."""
    return isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)


def is_pairs_of_texts(value: Any) -> bool:
    """Say whether a value is a list of pairs of texts."""
    return isinstance(value, list | tuple) and all(is_texts(pair) and len(pair) == 2 for pair in value)


def is_logging(value: Any) -> bool:
    """Say whether a value is a level and a layout of logging, or nothing."""
    if value is None:
        return True
    return isinstance(value, list | tuple) and len(value) == 2 and is_count(value[0]) and is_text(value[1])


def is_file(row: Any) -> bool:
    """Say whether a value describes a file: path, data, mode and time of change."""
    if not isinstance(row, list | tuple) or len(row) != 4:
        return False
    path, data, mode, mtime = row
    is_known = isinstance(path, str) and isinstance(data, bytes) and is_count(mode)
    return is_known and type(mtime) in (int, float) and math.isfinite(mtime) and abs(mtime) < LARGEST


def is_files(value: Any) -> bool:
    """Say whether a value is a list of files."""
    return isinstance(value, list | tuple) and all(map(is_file, value))


def is_ids(value: Any) -> bool:
    """Say whether a value tells the places of jobs in their queue: eight bytes each, or a page and an offset."""
    return isinstance(value, bytes) or (isinstance(value, list | tuple) and all(map(is_count, value)))


def is_key(value: Any) -> bool:
    """Say whether a value names a batch at the master: its session and its number there."""
    return isinstance(value, list | tuple) and len(value) == 2 and is_text(value[0]) and is_count(value[1])


def is_extra(value: Any) -> bool:
    """Say whether a value is source text and files of a job's own, or nothing."""
    if value is None or value == [] or value == ():
        return True
    return isinstance(value, list | tuple) and len(value) == 2 and is_bytes(value[0]) and is_files(value[1])


def optional(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a check that takes None too."""
    return lambda value: value is None or check(value)


#: what a batch's facts may be
BATCH: Final[dict[str, Callable[[Any], bool]]] = {
    "form": lambda value: value in (wire.JOBS, wire.JOB, wire.ITEMS) if isinstance(value, str) else False,
    "data": is_blob,
    "jobs": lambda value: is_count(value) and 1 <= value <= MOST_JOBS,
    "skip": is_count,
    "ids": is_ids,
    "worker": optional(is_text),
    "budget_s": is_time,
    "timeout_s": is_limit,
    "grouped": is_flag,
    "alone": is_flag,
    "avoid": is_texts,
    "extra": is_extra,
}


def one_by_one(facts: Any, checks: Mapping[str, Callable[[Any], bool]], required: Iterable[str]) -> str:
    """Check facts by name; fields that nobody knows here are left to later releases."""
    if not isinstance(facts, dict):
        return f"its facts are {shown(facts)}"
    for name in required:
        if name not in facts:
            return f"its {name} is missing"
    for name, check in checks.items():
        if name in facts and not check(facts[name]):
            return f"its {name} is {shown(facts[name])}"
    return ""


def of_batch(facts: Any, *, is_whole: bool = True) -> str:
    """Check a batch; one that is only named, as after another master's end, has no data."""
    why = one_by_one(facts, BATCH, ("form", "data", "jobs") if is_whole else ("jobs",))
    if not why and facts.get("skip", 0) > facts["jobs"]:
        why = f"its skip is {facts['skip']}, and it has {facts['jobs']} jobs"
    return why


def of_limits(value: Any) -> bool:
    """Say whether a value is how many jobs at once each worker may run, or None."""
    if value is None:
        return True
    return isinstance(value, dict) and all(isinstance(name, str) and is_count(most) for name, most in value.items())


def of_worker_facts(value: Any) -> bool:
    """Say whether a value is what single workers get: setup arguments and files by name, or None."""
    if value is None:
        return True
    return isinstance(value, dict) and all(isinstance(n, str) and not of_own(own) for n, own in value.items())


#: what one worker gets of a computation
OWN: Final[dict[str, Callable[[Any], bool]]] = {
    "limit": optional(is_count),
    "setup_args": optional(is_bytes),
    "files": optional(is_files),
}
#: what the master reads of a computation
DEFINITION: Final[dict[str, Callable[[Any], bool]]] = {
    "limits": of_limits,
    "workers": of_worker_facts,
    "python": optional(is_text),
    "name": optional(is_text),
}


def of_own(facts: Any) -> str:
    """Check what one worker gets of a computation."""
    return one_by_one(facts, OWN, ())


def of_definition(digest: Any, spec: Any, facts: Any) -> str:
    """Check a computation as the master reads it."""
    if not isinstance(digest, str) or not is_blob(spec):
        return f"its name is {shown(digest)}, and it is {shown(spec)}"
    return one_by_one(facts, DEFINITION, ())


#: what a client may tell workers: of one of its batches, or of one of its computations
ABOUT_BATCHES: Final[dict[str, tuple[Callable[[Any], bool], ...]]] = {
    "cancel": (is_count, is_time),
    "stop": (is_time,),
    "recall": (),
}
ABOUT_COMPUTATIONS: Final[dict[str, tuple[Callable[[Any], bool], ...]]] = {
    "forget": (),
    "renew": (lambda value: not of_own(value),),
    "file": (is_file,),
}


def of_message(message: Any) -> str:
    """Check what a client tells workers."""
    if not isinstance(message, list | tuple) or len(message) < 2 or not isinstance(message[0], str):
        return f"a message to workers is {shown(message)}"
    kind, subject, *rest = message
    parts = ABOUT_BATCHES.get(kind) or ABOUT_COMPUTATIONS.get(kind)
    if parts is None and kind not in ABOUT_BATCHES | ABOUT_COMPUTATIONS:
        return f"no worker is told {shown(kind)}"
    parts = parts or ()
    is_known = is_count(subject) if kind in ABOUT_BATCHES else isinstance(subject, str)
    if not is_known or len(rest) != len(parts) or not all(check(part) for check, part in zip(parts, rest, strict=True)):
        return f"a message {kind!r} to workers is {shown(message[1:])}"
    return ""


def shown(value: Any) -> str:
    """Return a short text of a value."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
