"""A computation as a slot has it loaded, and what must change when the slot works for another.

Slots are shared between computations, so two scripts that each bring a ``helpers.py`` of their own
must not see each other's: a computation's modules are put aside when its turn ends.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from octapi.pool import job_directory

if TYPE_CHECKING:
    from types import ModuleType

    from octapi.pool.loader import Prepared
    from octapi.protocol.computation import Computation


class LoadedComputation:
    """One computation in one slot; ``prepared`` makes the callable of each job."""

    prepared: Prepared

    def __init__(self, computation: Computation, home: str) -> None:
        self.computation = computation
        self.home = home
        self._modules: dict[str, ModuleType] = {}

    def enter(self) -> None:
        """Work in its directory, with its modules."""
        job_directory.enter(self.computation, self.home)
        sys.modules.update(self._modules)
        self._modules.clear()

    def be_script(self) -> None:
        """Give the job's process what the script had of its own: its arguments, and how it logs."""
        if self.computation.argv:
            sys.argv = list(self.computation.argv)
        if self.computation.logging is not None:
            import logging

            level, layout = self.computation.logging
            logging.basicConfig(level=level, format=layout, stream=sys.stderr, force=True)

    def leave(self) -> None:
        """Put its modules and its places to import from aside."""
        inside = self.home + os.sep
        for name, module in list(sys.modules.items()):
            if name == "__main__" or file_of(module).startswith(inside):
                self._modules[name] = module
                if name != "__main__":
                    del sys.modules[name]
        sys.path[:] = [entry for entry in sys.path if entry not in (self.home, *self.computation.paths)]


def file_of(module: Any) -> str:
    """Return the file a module came from, or an empty text."""
    return str(getattr(module, "__file__", None) or "")
