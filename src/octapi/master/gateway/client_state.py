"""The states of a client's session, and what moves it between them.  Decisions only.

connected ──connection breaks──> absent ──same session──> connected
└──bye, or sent away──> leaving ──connection breaks──> ended: its jobs are stopped
absent ──somebody fetches, or away too long and recoverable──> detached: the master acts for it until all is fetched
each of these ──end──> ended
"""

from __future__ import annotations

import enum
from typing import Final


class ClientState(enum.Enum):
    """Where a client's session stands."""

    CONNECTED = "connected"
    LEAVING = "leaving"
    ABSENT = "absent"
    DETACHED = "detached"
    ENDED = "ended"


class ClientEvent(enum.Enum):
    """What may happen to it."""

    BYE = "it said goodbye, or is sent away"
    BREAK = "its connection breaks"
    BACK = "it comes over another connection"
    DETACH = "the master acts for it"
    END = "it is forgotten"


S, E = ClientState, ClientEvent
#: what may happen, and the state that follows from each state in which it may
MOVES: Final[dict[ClientEvent, dict[ClientState, ClientState]]] = {
    E.BYE: {S.CONNECTED: S.LEAVING, S.LEAVING: S.LEAVING},
    E.BREAK: {S.CONNECTED: S.ABSENT, S.LEAVING: S.ENDED},
    E.BACK: {S.ABSENT: S.CONNECTED, S.CONNECTED: S.CONNECTED, S.LEAVING: S.LEAVING},
    E.DETACH: {S.ABSENT: S.DETACHED, S.DETACHED: S.DETACHED},
    E.END: dict.fromkeys(S, S.ENDED),
}


def moved(state: ClientState, event: ClientEvent) -> ClientState:
    """Return the state after something happened; the same if it cannot happen in it."""
    return MOVES[event].get(state, state)
