"""Kinds of messages: each is a class with its fields, on one channel, under one word.

A message is a NamedTuple whose fields are annotated with the reader that checks them
(:mod:`octapi.protocol.checked`)::

    @message(Channel.CLIENT, "run", must_arrive=True)
    class Run(NamedTuple):
        \"\"\"A batch of jobs.\"\"\"

        ident: Annotated[int, IDENT]

On the wire it is a list: the word, then the fields.  Fields with a default may be missing.  What comes from another
trust domain becomes a message by :func:`parse`, before anything else sees it.  docs/explanation/protocols.md is made
from these classes by :mod:`octapi.protocol.describe`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from octapi.errors import MessageRefused
from octapi.protocol.checked import annotated, row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from octapi.protocol.checked import Reader

T = TypeVar("T", bound=type)


class Channel(enum.Enum):
    """Who says it to whom."""

    CLIENT = "a client"
    TO_CLIENT = "the master to a client"
    WORKER = "a worker"
    TO_WORKER = "the master to a worker"


class Kind(NamedTuple):
    """What is known of one kind of message; ``must_arrive`` says that it is kept until it is acknowledged."""

    channel: Channel
    word: str
    cls: type[Any]
    must_arrive: bool


#: filled while the modules of messages are imported, and never changed afterwards
_BY_WORD: dict[Channel, dict[str, Kind]] = {channel: {} for channel in Channel}
_BY_CLASS: dict[type[Any], Kind] = {}
#: what reads so many fields of each class, made at the first use: most processes read few kinds
_READERS: dict[tuple[type[Any], int], Reader] = {}


def message(channel: Channel, word: str, *, must_arrive: bool = False) -> Callable[[T], T]:
    """Make a class a kind of message."""

    def register(cls: T) -> T:
        kind = Kind(channel, word, cls, must_arrive)
        assert word not in _BY_WORD[channel], f"{channel.value} says {word!r} twice"
        _BY_WORD[channel][word] = _BY_CLASS[cls] = kind
        return cls

    return register


def kinds(channel: Channel) -> Mapping[str, Kind]:
    """Return all kinds of one channel, by their word."""
    return _BY_WORD[channel]


def kind_of(said: Any) -> Kind:
    """Return the kind of a message.  Raises KeyError for what is none."""
    return _BY_CLASS[type(said)]


def plain(said: Any) -> tuple[Any, ...]:
    """Return a message as it goes over the wire."""
    return (_BY_CLASS[type(said)].word, *said)


def readers(cls: type[Any]) -> tuple[Reader, ...]:
    """Return what checks the fields of a kind of message, in their order."""
    found = annotated(cls)
    return tuple(found[name] for name in cls._fields)


def _reader(cls: type[Any], said: int) -> Reader:
    """Return what reads a kind of message that came with so many fields; it is made once, for messages are many."""
    needed = len(cls._fields) - len(cls._field_defaults)
    wanted = min(max(needed, said), len(cls._fields))
    if (cls, wanted) not in _READERS:
        _READERS[cls, wanted] = row(*readers(cls)[:wanted])
    return _READERS[cls, wanted]


def word_of(said: Any) -> str:
    """Return the word of what came over the wire; an empty text for what is no message."""
    return said[0] if type(said) in (list, tuple) and said and type(said[0]) is str else ""


def parse(channel: Channel, said: Any) -> Any:
    """Return what came over a channel as a message.  Raises :exc:`MessageRefused` for what is none."""
    kind = _BY_WORD[channel].get(word_of(said))
    if kind is None:
        word = said[0] if type(said) in (list, tuple) and said else said
        raise MessageRefused(f"{channel.value} says no {word!r:.40}")
    rest = said[1:]
    return kind.cls(*_reader(kind.cls, len(rest))(rest))
