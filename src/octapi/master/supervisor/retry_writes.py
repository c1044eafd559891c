"""Files that a master wants to write on a disk that may be full or read-only, which must not end it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from octapi.errors import IdentityProblem

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("octapi.master.supervisor")


class RetryingWrites:
    """Writes what it can; the log has once each thing that it cannot, and when it can again."""

    def __init__(self) -> None:
        self._failing: dict[str, tuple[str, Callable[[], None]]] = {}

    def retry(self) -> None:
        """Try again what could not be written."""
        for what, (_, write) in list(self._failing.items()):
            self.attempt(what, write)

    def attempt(self, what: str, write: Callable[[], None]) -> bool:
        """Call ``write``, and say whether it could; ``what`` it writes is named in the log."""
        try:
            write()
        except (OSError, IdentityProblem) as error:
            why = getattr(error, "strerror", None) or str(error)
            if self._failing.get(what, ("",))[0] != why:
                log.warning(f"{what} cannot be written: {why}. It is tried again; nothing stops for it.")
            self._failing[what] = (why, write)
            return False
        if self._failing.pop(what, None):
            log.info(f"{what} can be written again.")
        return True
