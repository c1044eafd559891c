"""Globals that do not pickle and that a forked process would simply have: locks, events, context variables.

A job gets new ones: it is alone in its process, so a lock of the script's that somebody holds would only stop it.
Only globals are treated so.  In an argument or a result such an object is a mistake, of which the caller is told.
"""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: by what a new one of each kind is made
MAKERS: Final[dict[type, Callable[[], Any]]] = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
    threading.Condition: threading.Condition,
    threading.local: threading.local,
}
NOTHING: Final = ()


class Fresh:
    """Stands for a global in a pickle, from which a new one is made."""

    def __init__(self, maker: Callable[..., Any], args: tuple[Any, ...] = ()) -> None:
        self.maker = maker
        self.args = args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.maker, self.args


def travelling(value: Any) -> Any:
    """Return what is pickled in the place of a global."""
    kind = type(value)
    if kind in MAKERS:
        return Fresh(MAKERS[kind])
    if kind is threading.Event:
        return Fresh(event, (value.is_set(),))
    if kind in (threading.Semaphore, threading.BoundedSemaphore):
        return Fresh(kind, (getattr(value, "_initial_value", value._value),))
    if kind is contextvars.ContextVar:
        return Fresh(variable, (value.name, contextvars.Context().run(now, value), now(value)))
    return value


def now(var: contextvars.ContextVar[Any]) -> tuple[Any, ...]:
    """Return the value of a variable in the running context, in a tuple that is empty if it has none."""
    try:
        return (var.get(),)
    except LookupError:
        return NOTHING


def variable(name: str, default: tuple[Any, ...], value: tuple[Any, ...]) -> contextvars.ContextVar[Any]:
    """Make a context variable with the value that the script has set."""
    found: contextvars.ContextVar[Any]
    found = contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)
    if value and value != default:
        found.set(value[0])
    return found


def event(is_set: bool) -> threading.Event:
    """Make an event that is set if the script's is."""
    found = threading.Event()
    if is_set:
        found.set()
    return found
