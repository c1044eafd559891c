"""Why a slot's process is ended on purpose, and which reason stands when there are two.  Decisions only."""

from __future__ import annotations

from typing import Final

from octapi.protocol.exits import KilledFor

_ANY: Final = frozenset(KilledFor) - {KilledFor.DROPPED}
_NONE: Final = frozenset({KilledFor.NOTHING})
#: each reason, and those in whose place it comes: what somebody asked for counts more than what a guard found, and
#: of a batch that nobody waits for nothing else is said
MOVES: Final[dict[KilledFor, frozenset[KilledFor]]] = {
    KilledFor.NOTHING: frozenset(),
    KilledFor.CANCELLED: _ANY,
    KilledFor.TIMEOUT: _ANY,
    KilledFor.DROPPED: _ANY,
    KilledFor.REFUSED: _NONE,
    KilledFor.FROZEN: _NONE,
    KilledFor.NONSENSE: _NONE,
    KilledFor.MEMORY: _NONE,
    KilledFor.MEMORY_LIMIT: _NONE,
}
#: a slot that was killed for one of these says nothing by its end about what it loaded
ASKED: Final = frozenset({KilledFor.CANCELLED, KilledFor.TIMEOUT, KilledFor.REFUSED, KilledFor.DROPPED})
#: it held too much memory
GUARDED: Final = frozenset({KilledFor.MEMORY, KilledFor.MEMORY_LIMIT})


def moved(standing: KilledFor, reason: KilledFor) -> KilledFor:
    """Return which of two reasons stands, the one that there was or another that came."""
    return reason if standing in MOVES[reason] else standing
