"""The states of a computation on one worker, and what moves it between them.  Decisions only.

    setting up ──set up──> ready ──refused──> refused
        │ └────────refused────────────────────────┘
        └<──setup died── ready
    each of these ──renew──> renewing ──idle──> cleaning up to renew ──> another one begins, setting up
    each of these, and renewing ──leave──> leaving ──idle──> cleaning up to leave ──> forgotten

What moves nothing in a state is over: a setup that ends while its computation leaves makes it ready for nobody.
"""

from __future__ import annotations

import enum
from typing import Final


class State(enum.Enum):
    """Where a computation stands."""

    SETTING_UP = "setting up"
    READY = "ready"
    REFUSED = "refused"
    #: it begins anew with other arguments once none of its jobs runs, and then
    RENEWING = "renewing"
    RENEWAL_CLEANUP = "cleaning up to renew"
    #: it is forgotten once none of its jobs runs, and then
    LEAVING = "leaving"
    FINAL_CLEANUP = "cleaning up to leave"


class Event(enum.Enum):
    """What may happen to it."""

    SET_UP = "set up"
    SETUP_DIED = "the process that ran its setup died"
    REFUSED = "refused"
    RENEW = "renew"
    LEAVE = "leave"
    IDLE = "none of its jobs runs"


_STANDS: Final = (State.SETTING_UP, State.READY, State.REFUSED)
#: what may happen, and the state that follows from each state in which it may
MOVES: Final[dict[Event, dict[State, State]]] = {
    Event.SET_UP: {State.SETTING_UP: State.READY},
    Event.SETUP_DIED: {State.READY: State.SETTING_UP},
    Event.REFUSED: dict.fromkeys(_STANDS, State.REFUSED),
    Event.RENEW: dict.fromkeys((*_STANDS, State.RENEWING), State.RENEWING)
    | {State.RENEWAL_CLEANUP: State.RENEWAL_CLEANUP},
    Event.LEAVE: dict.fromkeys((*_STANDS, State.RENEWING), State.LEAVING)
    | {State.RENEWAL_CLEANUP: State.FINAL_CLEANUP},
    Event.IDLE: {State.RENEWING: State.RENEWAL_CLEANUP, State.LEAVING: State.FINAL_CLEANUP},
}
#: in which it takes no more batches
LEAVING: Final = (State.LEAVING, State.FINAL_CLEANUP)


def may(state: State, event: Event) -> bool:
    """Say whether something moves a computation in this state."""
    return state in MOVES[event]


def moved(state: State, event: Event) -> State:
    """Return the state after something happened; the same if it cannot happen in it."""
    return MOVES[event].get(state, state)
