"""Enum members, sentinels, singletons and classes of the script are the same ones after the trip, both ways."""

import abc
import collections
import dataclasses
import enum
import typing

import octapi


class Suit(enum.Enum):
    CLUBS = 1
    HEARTS = "h"

    @property
    def label(self):
        return self.name.lower()


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Level(enum.StrEnum):
    LOW = "low"


@dataclasses.dataclass(order=True, frozen=True)
class Card:
    rank: int
    suit: Suit = Suit.CLUBS
    marks: list = dataclasses.field(default_factory=list, compare=False)


@dataclasses.dataclass(slots=True)
class Slotted:
    x: int


Pair = collections.namedtuple("Pair", "left right")


class Typed(typing.NamedTuple):
    number: int


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self):
        """Return it."""


class Square(Shape):
    __slots__ = ("side",)

    def __init__(self, side):
        self.side = side

    def area(self):
        return super().__repr__() and self.side**2


class Meta(type):
    def __call__(cls, *args):
        return super().__call__(*args)


class WithMeta(metaclass=Meta):
    def __init__(self, value):
        self.value = value


class Only:
    _one = None

    def __new__(cls):
        if cls._one is None:
            cls._one = super().__new__(cls)
        return cls._one


class Outer:
    class Inner:
        pass


MISSING = object()


def make():
    return [
        Suit.HEARTS, Rights.READ | Rights.WRITE, Level.LOW, Card(1, Suit.HEARTS, ["m"]), Slotted(2), Pair(1, 2), Typed(3),
        Square(4), WithMeta(5), Outer.Inner(), Suit, Card,
    ]  # fmt: skip


def echo(x):
    return x


def recognized(suit, card, missing=MISSING):
    return suit is Suit.HEARTS, isinstance(card, Card), missing is MISSING, {Suit.CLUBS: "found"}.get(card.suit)


with octapi.Cluster() as cluster:
    for _ in range(2):
        suit, rights, level, card, slotted, pair, typed, square, meta, inner, suits, cards = cluster.submit(
            make
        ).result(60)
        assert suit is Suit.HEARTS, suit
        assert rights is Rights.READ | Rights.WRITE, rights
        assert level is Level.LOW, level
        assert card == Card(1, Suit.HEARTS), card
        assert (type(card), card.suit is Suit.HEARTS, card.marks) == (Card, True, ["m"]), card
        kinds = [type(found) for found in (slotted, pair, typed, square, meta, inner)]
        assert kinds == [Slotted, Pair, Typed, Square, WithMeta, Outer.Inner], kinds
        assert isinstance(square, Shape), square
        assert square.area() == 16, square.area()
        assert (suits is Suit, cards is Card) == (True, True), (suits, cards)
    mapped = list(cluster.map(echo, [Suit.CLUBS, Level.LOW, Suit, Card, Pair]))
    same = [a is b for a, b in zip(mapped, [Suit.CLUBS, Level.LOW, Suit, Card, Pair], strict=True)]
    assert same == [True] * 5, mapped
    wanted = (True, True, True, "found")
    for seen in (
        cluster.submit(recognized, Suit.HEARTS, Card(2)).result(60),
        next(cluster.map(recognized, [Suit.HEARTS], [Card(2)])),
    ):
        assert seen == wanted, seen
    assert cluster.submit(recognized, Suit.HEARTS, Card(2), MISSING).result(60) == wanted
    assert cluster.submit(echo, MISSING).result(60) is MISSING
    assert cluster.submit(echo, {"key": MISSING}).result(60)["key"] is MISSING
    assert cluster.submit(echo, Only()).result(60) is Only()
    assert cluster.submit(echo, echo).result(60) is echo
    assert cluster.submit(echo, NotImplemented).result(60) is NotImplemented
print("holds")
