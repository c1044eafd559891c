"""What the master says to clients.  They believe it: its certificate says who it is."""

from __future__ import annotations

from typing import Any, NamedTuple

from octapi.protocol.messages import Channel, message


@message(Channel.TO_CLIENT, "welcome")
class Welcome(NamedTuple):
    """The first answer: workers, the cluster's time, the run's id, and whether the session is known, up to where."""

    facts: dict[str, Any]


@message(Channel.TO_CLIENT, "refused")
class Refused(NamedTuple):
    """It may not be in, or what it said cannot be done: the name of an ``error``, and its ``text``."""

    facts: dict[str, Any]


@message(Channel.TO_CLIENT, "agent", must_arrive=True)
class FromAgent(NamedTuple):
    """What a worker, or the master in its place, says of one of its batches or computations."""

    worker: str
    message: tuple[Any, ...]


@message(Channel.TO_CLIENT, "seen")
class Seen(NamedTuple):
    """The master has all frames up to this number; also a sign of life."""

    number: int


@message(Channel.TO_CLIENT, "workers")
class Workers(NamedTuple):
    """All workers that there are now."""

    rows: list[dict[str, Any]]


@message(Channel.TO_CLIENT, "pace")
class Pace(NamedTuple):
    """How often the master wants to hear of it, in seconds."""

    seconds: float


@message(Channel.TO_CLIENT, "others")
class Others(NamedTuple):
    """How many other scripts have jobs, and which of its batches have not begun at which workers."""

    scripts: int
    placed: dict[int, str]


@message(Channel.TO_CLIENT, "stop")
class Stop(NamedTuple):
    """Stop all your jobs; with ``was_found``, the answer to who asked that of another client."""

    was_found: bool | None = None


@message(Channel.TO_CLIENT, "stop_job")
class StopJob(NamedTuple):
    """Stop the job of this batch that runs now; a truth value is the answer to who asked that of another client."""

    ident: int | bool


@message(Channel.TO_CLIENT, "jobs")
class Jobs(NamedTuple):
    """The scripts that run."""

    rows: list[dict[str, Any]]


@message(Channel.TO_CLIENT, "nodes")
class Nodes(NamedTuple):
    """Workers and members, and how the master is."""

    facts: dict[str, Any]


@message(Channel.TO_CLIENT, "runs")
class Runs(NamedTuple):
    """The latest runs, and how the master is."""

    facts: dict[str, Any]


@message(Channel.TO_CLIENT, "metrics")
class Metrics(NamedTuple):
    """What the master counts, as Prometheus reads it."""

    text: str


@message(Channel.TO_CLIENT, "courses")
class Courses(NamedTuple):
    """Load and memory of workers, by name: rows of time (epoch seconds) and two percentages."""

    rows: dict[str, Any]


@message(Channel.TO_CLIENT, "manage")
class Manage(NamedTuple):
    """The answer to a question about submitted scripts: ``ok`` or ``error``."""

    answer: dict[str, Any]


@message(Channel.TO_CLIENT, "watch")
class Watch(NamedTuple):
    """What has changed of what a watcher sees."""

    frame: dict[str, Any]


@message(Channel.TO_CLIENT, "drain")
class Drain(NamedTuple):
    """Whether the worker was there that is to be drained, and which there are."""

    facts: dict[str, Any]


@message(Channel.TO_CLIENT, "recovered")
class Recovered(NamedTuple):
    """What is kept follows: the workers, and the run's id."""

    facts: dict[str, Any]


@message(Channel.TO_CLIENT, "part")
class Part(NamedTuple):
    """What follows is of this client of the run; the functions of its batches by number."""

    part: int
    names: dict[int, str]


@message(Channel.TO_CLIENT, "complete")
class Complete(NamedTuple):
    """That was all."""
