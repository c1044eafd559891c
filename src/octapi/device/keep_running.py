"""Work that must not end: what goes wrong in it is said and counted, and it begins again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: before work that ended begins again, in seconds; after each end that follows soon twice as long
PAUSE_S: Final = 0.5
LONGEST_S: Final = 60.0
#: work that went on so long was well, in seconds
WELL_S: Final = 60.0


class KeepRunning:
    """One piece of work that goes on until its task is cancelled; ``ends`` counts how often it had to begin again."""

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], log: Callable[[str], None]) -> None:
        self.name = name
        self.ends = 0
        self._work = work
        self._log = log

    async def run(self) -> None:
        """Do it, again and again."""
        pause_s, loop = PAUSE_S, asyncio.get_running_loop()
        while True:
            began, why = loop.time(), "it ended by itself"
            try:
                await self._work()
            except Exception as error:  # whatever it is: without this nobody would do the work, and nobody be told
                why = f"{type(error).__name__}: {error}"
            self.ends += 1
            self._log(f"{self.name} went wrong and begins again in {pause_s:g} s: {why}")
            await asyncio.sleep(pause_s)
            pause_s = PAUSE_S if loop.time() - began > WELL_S else min(2 * pause_s, LONGEST_S)
