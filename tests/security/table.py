"""The table of all attacks, by their names."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.security.attack_cluster import Field, Succeeded

Attack = Callable[[Field], Awaitable[str]]
ATTACKS: dict[str, Attack] = {}
#: who attacks, the least trusted first
WHO = ("stranger", "old token", "stolen worker", "client", "job", "visitor of the page")
#: who attacks by what the name of an attack begins with, or holds
BEGINS = {
    "old token": "old token", "stranger": "stranger", "visitor": "visitor of the page", "worker": "stolen worker",
    "client": "client", "dask": "stolen worker", "join": "stranger", "red": "stolen worker", "job": "job",
}  # fmt: skip
HOLDS = {
    "removed worker": "old token", "an expired certificate": "old token", "whose result is a pickle": "job",
    "no certificate": "stranger", "another authority": "stranger", "instead of TLS": "stranger", "TLS 1.2": "stranger",
    "wrong role, ann": "client", "client's identity": "client", "say nothing": "stranger", "not valid yet": "old token",
    "wrong role, mole": "stolen worker", "worker's certificate": "stolen worker", "wrong role, master": "stolen worker",
}  # fmt: skip


def attacker(title: str) -> str:
    """Return who attacks."""
    held = (who for words, who in HOLDS.items() if words in title)
    begun = (who for words, who in BEGINS.items() if title.startswith(words))
    return next(held, None) or next(begun)


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
