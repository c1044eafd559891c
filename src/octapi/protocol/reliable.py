"""Frames on their way to somebody whose connection may break: kept until they are acknowledged.

Frames are numbered from 1, in the order in which they were appended; both sides count, so no number travels with
them.  After a break the reader says how many it has, and gets what follows: each frame arrives once, and in order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from octapi.protocol.wire import Frame

#: how many frames may come before they are acknowledged, and how many bytes
ACKNOWLEDGE_FRAMES: Final = 32
ACKNOWLEDGE_BYTES: Final = 1 << 20


class Outbox:
    """What was sent, or will be, and is not acknowledged; ``bytes`` is its size."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        #: the number of the last frame that was acknowledged
        self.acknowledged = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def last(self) -> int:
        """Return the number of the last frame that was appended."""
        return self.acknowledged + len(self._frames)

    def append(self, frame: Frame) -> int:
        """Keep one more frame, and return its number."""
        self._frames.append(frame)
        self.bytes += len(frame)
        return self.last

    def acknowledge(self, number: int) -> None:
        """Forget the frames up to ``number``.  Raises ValueError for one that was never appended."""
        if number > self.last:
            raise ValueError(f"frame {number} was acknowledged, but only {self.last} were sent")
        while self.acknowledged < number:
            self.bytes -= len(self._frames.popleft())
            self.acknowledged += 1

    def since(self, number: int) -> list[Frame]:
        """Return the frames after ``number``.  Raises ValueError when some of them are forgotten already."""
        if not self.acknowledged <= number <= self.last:
            raise ValueError(f"frames from {number + 1} on were asked for; kept are {self.acknowledged + 1} and on")
        return [frame for place, frame in enumerate(self._frames, self.acknowledged + 1) if place > number]


class ReceivedCounter:
    """The reader's side: how many frames came, and whether it is time to acknowledge them."""

    def __init__(self) -> None:
        self.taken = 0
        self.told = 0
        self._bytes = 0

    def took(self, size: int) -> bool:
        """Count a frame of ``size`` bytes; say whether so much has come that it is time to acknowledge."""
        self.taken += 1
        self._bytes += size
        return self.taken - self.told >= ACKNOWLEDGE_FRAMES or self._bytes >= ACKNOWLEDGE_BYTES

    def tell(self) -> int:
        """Return the number to acknowledge, and count it as told."""
        self.told, self._bytes = self.taken, 0
        return self.taken

    @property
    def is_due(self) -> bool:
        """Say whether anything came that is not acknowledged."""
        return self.taken != self.told
