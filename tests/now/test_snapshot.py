"""How it is known whether a function changed."""

from __future__ import annotations

import collections
import enum
import importlib
import itertools
import types
from typing import TYPE_CHECKING

from octapi.client import callables
from octapi.client.snapshot import same, signature
from tests.now import notebook

if TYPE_CHECKING:
    import pytest


def noop() -> None:
    """Do nothing."""


def test_a_signature_is_the_same_as_long_as_nothing_changes() -> None:
    """For functions that travel by name and by value, classes, and what they reach."""
    names = notebook(
        "import math, re, enum, functools, collections, dataclasses\n"
        "P = re.compile('x')\nN = collections.namedtuple('N', 'a b')\nQ = collections.deque([1])\n"
        "@dataclasses.dataclass\nclass D:\n    x: int\n    y: list = dataclasses.field(default_factory=list)\n"
        "@functools.lru_cache\ndef cached(n): return n\n"
        "def f(n: int, *, k=(1, 2)) -> 'str': return math.sin(n), P, N(1, 2), D(1), Q, cached(1), part\n"
        "def g(n): return f(n)\npart = functools.partial(g, 1)\n"
    )
    for thing in (names["f"], names["g"], names["D"], names["N"], noop, abs, callables.Entry, importlib.import_module):
        assert same(signature(thing), signature(thing)), thing


def test_a_signature_says_when_it_cannot_tell() -> None:
    """Objects, arrays of memory, and modules that nobody can import."""
    for value in ("object()", "bytearray(3)", "types.SimpleNamespace()", "types.ModuleType('m')", "iter([])"):
        names = notebook(f"import types\nV = {value}\ndef f(): return V\n")
        assert signature(names["f"]) is None, value


def test_containers_with_other_parts_have_other_signatures() -> None:
    """The ends of containers, and what is met twice, are told apart."""
    shapes = ["[1, [2]]", "[[1], 2]", "[1, 2]", "[[1, 2]]", "(1, 2)", "{1: 2}", "{1, 2}", "[1, 2, []]", "[[], 1, 2]"]
    found = [signature(notebook(f"V = {shape}\ndef f(): return V\n")["f"]) for shape in shapes]
    codes = [[token for token in tokens or [] if not isinstance(token, types.CodeType)] for tokens in found]
    assert not any(same(a, b) for a, b in itertools.combinations(codes, 2))
    names = notebook("A = []\nB = A\ndef f(): return A, B\n")
    before = signature(names["f"])
    names["B"] = []
    assert not same(before, signature(names["f"]))


class Colour(enum.Enum):
    """Members are known by their name."""

    RED = 1


def test_members_of_enumerations_and_loggers_are_known_by_name() -> None:
    """They cannot be another without being seen."""
    names = notebook("import logging\nL = logging.getLogger('x')\ndef f(): return L, C\n")
    names["C"] = Colour.RED
    assert same(signature(names["f"]), signature(names["f"]))


def test_few_places_and_functions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are."""
    monkeypatch.setattr(callables, "REMEMBERED", 10)
    monkeypatch.setattr(callables, "PLACES", 10)
    known = callables.Callables()
    functions = [notebook("\n" * n + "def f(): return 1")["f"] for n in range(100)]
    for function in functions:
        assert known.content(function) is not None
    assert len(known._entries) <= 10
    assert len(known._places) <= 10
    assert collections.Counter(map(known.content, [functions[-1]] * 3)).total() == 3
