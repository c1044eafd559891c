"""How many jobs travel together: measured times in, batch sizes out.

The first jobs of a computation go one by one; then batches grow until one takes about
:data:`BUDGET_S`.  No input or output and no clock here, so every rule is tested by itself.
"""

from __future__ import annotations

from typing import Final

#: what a batch should take, in seconds
BUDGET_S: Final = 0.1
#: batches that take less than this are not worth splitting for the sake of balance, in seconds
WORTHWHILE_S: Final = 0.004
#: the longest batch, in seconds, however many slots there are
LONGEST_S: Final = 1.0
#: how many batches a second the master can route
ROUTED_PER_S: Final = 1000.0
#: a batch may be this many times as large as the largest that came back
GROWTH: Final = 8
LARGEST: Final = 50_000
#: jobs longer than this are not sent ahead, so that any free slot may take them
PREFETCH_BELOW_S: Final = 0.05
#: weight of the newest batch in the running mean
NEWEST: Final = 0.4


class Batcher:
    """Batch sizes of one computation."""

    def __init__(self) -> None:
        self.mean_s: float | None = None
        self._largest_back = 0

    def measured(self, jobs: int, seconds: float) -> None:
        """Take note that ``jobs`` jobs together took ``seconds`` of a slot's time."""
        if jobs < 1:
            return
        mean = max(seconds, 0.0) / jobs
        self.mean_s = mean if self.mean_s is None else self.mean_s + NEWEST * (mean - self.mean_s)
        self._largest_back = max(self._largest_back, jobs)
        if mean > 4 * self.mean_s + 1e-3:
            self._largest_back = jobs

    def budget_s(self, slots: int) -> float:
        """Return the seconds one batch may take on a cluster of ``slots`` slots."""
        return min(max(BUDGET_S, slots / ROUTED_PER_S), LONGEST_S)

    def size(self, queued: int, slots: int) -> int:
        """Return how many of ``queued`` jobs the next batch takes; at least 1 while any is queued."""
        if queued <= 1 or self.mean_s is None:
            return min(queued, 1)
        mean = max(self.mean_s, 1e-7)
        by_time = int(self.budget_s(slots) / mean)
        by_growth = max(self._largest_back, 1) * GROWTH
        fair = max(-(-queued // (2 * max(slots, 1))), int(WORTHWHILE_S / mean))
        return max(1, min(queued, by_time, by_growth, fair, LARGEST))

    def in_flight(self, slots: int) -> int:
        """Return how many batches may be on their way at once."""
        if self.mean_s is None or self.mean_s > PREFETCH_BELOW_S:
            return max(slots, 1)
        return 2 * max(slots, 1)
