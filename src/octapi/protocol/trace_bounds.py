"""How much a run's trace may hold, at whoever makes it and whoever takes it."""

from __future__ import annotations

from typing import Final

#: jobs are kept one by one up to this many
FEW: Final = 2000
#: buckets for each worker; with one more their width doubles
BUCKETS: Final = 120
#: causes of failure that are told apart; the others are counted together
CAUSES: Final = 40
#: lines of output that are kept
LINES: Final = 300
#: workers and functions that are told apart, against clients that make names up
NAMES: Final = 2000
