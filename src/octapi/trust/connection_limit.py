"""How many may be connected at once, everybody together and from one address."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class ConnectionLimit:
    """Counts connections: at most ``most`` together, and of these ``most_of_one`` from one address."""

    def __init__(self, most: int, most_of_one: int | None = None) -> None:
        self.most = most
        self.most_of_one = most if most_of_one is None else most_of_one
        self.here: Counter[str] = Counter()

    def has_room(self, address: str, *, is_many: bool = False) -> bool:
        """Say whether one more may come from an address; ``is_many`` people come from that of a proxy."""
        return self.here.total() < self.most and (is_many or self.here[address] < self.most_of_one)

    @property
    def is_over(self) -> bool:
        """Say whether there are more than may be."""
        return self.here.total() > self.most

    def enter(self, address: str) -> None:
        """Count one more."""
        self.here[address] += 1

    def leave(self, address: str) -> None:
        """Count one less."""
        self.here[address] -= 1
        if not self.here[address]:
            del self.here[address]

    @contextlib.contextmanager
    def entered(self, address: str) -> Iterator[bool]:
        """Count somebody for as long as the block lasts, and say whether there was room."""
        has_room = self.has_room(address)
        self.enter(address)
        try:
            yield has_room
        finally:
            self.leave(address)
