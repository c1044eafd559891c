"""The table of all attacks, by their names."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.security.field import Field, Succeeded

Attack = Callable[[Field], Awaitable[str]]
ATTACKS: dict[str, Attack] = {}


def attack(title: str, /, **fixed: Any) -> Callable[[Any], Any]:
    """Register an attack, with some of its arguments fixed."""

    def register(function: Any) -> Any:
        ATTACKS[title] = lambda field: function(field, **fixed)
        return function

    return register


def expected(words: str, outcome: str) -> str:
    """Return an outcome that has the right reason: being refused for another one proves nothing."""
    if words not in outcome:
        raise Succeeded(f"not for the reason {words!r}: {outcome}")
    return outcome
