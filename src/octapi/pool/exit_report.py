"""What can be said of a slot's process that has ended."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from octapi.pool import slot_end
from octapi.protocol.exits import KilledFor

if TYPE_CHECKING:
    from octapi.pool.processes import SlotProcess


def findings(child: SlotProcess, words: str, kernel_killed: bool, limit: int) -> dict[str, Any]:
    """Return how a slot ended: by which signal or exit code, why, with how much memory (bytes), and its last words.

    ``kernel_killed`` says whether the kernel has killed for want of memory, ``limit`` is a slot's own limit in bytes.
    """
    assert child.exit is not None
    status, most = child.exit
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    guarded = child.killed_for in slot_end.GUARDED
    return {
        "signal": number,
        "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "memory": max(most, child.most),
        "stderr": words,
        "why": child.killed_for.value,
        "out_of_memory": guarded or (kernel_killed and number == signal.SIGKILL),
        "limit": limit if child.killed_for is KilledFor.MEMORY_LIMIT else None,
    }
