"""What a client hears of its batches and computations: what a worker says, or the master in its place.

On this computer alone the pool's agent says the same to the script's own dispatcher, so that a job's way home is the
same classes with a master and without.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from octapi.protocol.messages import Channel, kinds, word_of
from octapi.protocol.worker_messages import Key, OfBatch, OfComputation

#: the word of :class:`Lost` on the wire
LOST = "lost"


class Lost(NamedTuple):
    """The worker of a batch of so many jobs is gone, and nobody knows how far it came; ``text`` is for people."""

    key: Key
    jobs: int = 0
    text: str = ""


class Unreadable(NamedTuple):
    """What was said of a batch and cannot be read as news of it: the batch, what was said, and what is wrong."""

    key: Any
    word: str
    error: Exception


#: what an agent says
AgentNews = OfComputation | OfBatch
#: what a client hears
News = AgentNews | Lost | Unreadable


def read(said: Any) -> News:
    """Return what the master hands on as news.  It has checked what workers say: only the number of fields counts."""
    word = word_of(said)
    try:
        _, *fields = said
        cls = Lost if word == LOST else kinds(Channel.WORKER)[word].cls
        made: News = cls(*fields)
        return made
    except (TypeError, ValueError, LookupError) as error:
        key = said[1] if isinstance(said, list | tuple) and len(said) > 1 else None
        return Unreadable(key, word or repr(said)[:20], error)
