"""What the master says to workers.  They believe it: its certificate says who it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from octapi.protocol.messages import Channel, message
from octapi.protocol.specs import BatchSpec
from octapi.protocol.wire import Blob

#: which batch: its number in the script that runs alone here, or its client's session and its number there
Key = int | tuple[str, int]


def key(value: Any) -> Key:
    """Read which batch is meant."""
    return tuple(value) if isinstance(value, list) else value


@message(Channel.TO_WORKER, "refuse")
class Refuse(NamedTuple):
    """It may not be in, and why."""

    why: str


@message(Channel.TO_WORKER, "trust")
class Trust(NamedTuple):
    """News of the authority: the time, who was removed, which authorities count, the digest of the metrics' token."""

    news: dict[str, Any]


@message(Channel.TO_WORKER, "dask")
class Dask(NamedTuple):
    """Whether somebody uses Dask: a process for its tasks is wanted."""

    is_wanted: bool


# ---- computations


@message(Channel.TO_WORKER, "define")
class Define(NamedTuple):
    """A computation, or new facts of one: its limit of jobs at once, and what this worker gets of its own."""

    digest: str
    spec: Blob
    facts: dict[str, Any]


@message(Channel.TO_WORKER, "renew")
class Renew(NamedTuple):
    """Run a computation's cleanup and then its setup again."""

    digest: str
    facts: dict[str, Any]


@message(Channel.TO_WORKER, "forget")
class Forget(NamedTuple):
    """Run a computation's cleanup, and remove its files."""

    digest: str


@message(Channel.TO_WORKER, "file")
class PutFile(NamedTuple):
    """Put a file into a computation's directory: path, data, mode, time of change in epoch seconds."""

    digest: str
    row: list[Any]


# ---- batches


@message(Channel.TO_WORKER, "run")
class Run(NamedTuple):
    """A batch; ``owner`` names whose batches take turns with those of others."""

    key: Annotated[Key, key]
    owner: str
    digest: str
    spec: BatchSpec


@message(Channel.TO_WORKER, "cancel")
class Cancel(NamedTuple):
    """Stop one job of a batch, that ends by itself within ``grace_s`` seconds or is killed."""

    key: Annotated[Key, key]
    job: int
    grace_s: float


@message(Channel.TO_WORKER, "stop")
class Stop(NamedTuple):
    """Stop a batch."""

    key: Annotated[Key, key]
    grace_s: float


@message(Channel.TO_WORKER, "recall")
class Recall(NamedTuple):
    """Give the jobs of a batch back that have not begun."""

    key: Annotated[Key, key]


@message(Channel.TO_WORKER, "replay")
class Replay(NamedTuple):
    """Say again what was said of a batch after so many messages: its client has not heard it."""

    key: Annotated[Key, key]
    heard: int


@message(Channel.TO_WORKER, "settled")
class Settled(NamedTuple):
    """The clients of these batches have all that was said of them."""

    keys: Sequence[Key]


@message(Channel.TO_WORKER, "drop")
class Drop(NamedTuple):
    """Nobody waits for these batches: stop them, and forget what was said of them."""

    keys: Sequence[Key]


@message(Channel.TO_WORKER, "kill")
class Kill(NamedTuple):
    """Stop all batches of a client that is gone."""

    owner: str
