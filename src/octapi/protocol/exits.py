"""How a job's process ended, in words, from what its agent saw."""

from __future__ import annotations

import enum
import signal
from typing import Any, Final

#: how every cause of want of memory begins
OUT_OF_MEMORY: Final = "ran out of memory"


class KilledFor(enum.StrEnum):
    """Why an agent killed a slot's process; on the wire ``why`` of a batch's end."""

    NOTHING = ""
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    #: nobody waits for its batch
    DROPPED = "dropped"
    #: it could not load the computation
    REFUSED = "refused"
    #: it was stopped from outside, and stood still
    FROZEN = "frozen"
    #: its frames made no sense
    NONSENSE = "nonsense"
    #: the device ran full, or it held more than a slot may
    MEMORY = "memory"
    MEMORY_LIMIT = "memory limit"


def exit_phrase(info: dict[str, Any]) -> str:
    """Say in words how a process ended."""
    if info.get("out_of_memory"):
        limit = info.get("limit")
        why = f": its slot may hold {limit / 1e6:.0f} MB (slot_memory_mb)" if limit else " on its worker"
        return f"{OUT_OF_MEMORY}{why}; it had taken {info.get('memory', 0) / 1e6:.0f} MB, and was killed"
    if info.get("why") == KilledFor.FROZEN:
        return "stood still, stopped from outside, and was killed"
    if info.get("why") == KilledFor.NONSENSE:
        return "sent its worker what makes no sense, and was killed"
    number = info.get("signal")
    if number is not None:
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = "a signal"
        hint = " (by hand, or for want of memory)" if name == "SIGKILL" else ""
        return f"was killed by {name} ({number}){hint}"
    return f"ended with exit code {info.get('exit_code')}"


def is_own_end(info: dict[str, Any]) -> bool:
    """Say whether a job ended its process by itself, so that it would do so anywhere: it is not started again.

    Who was killed from outside, stood still, or ran out of memory may have better luck elsewhere.
    """
    if info.get("out_of_memory") or info.get("why") in (KilledFor.FROZEN, KilledFor.NONSENSE):
        return False
    return info.get("exit_code") is not None or info.get("signal") not in (signal.SIGKILL, signal.SIGTERM)
