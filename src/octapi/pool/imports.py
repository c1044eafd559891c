"""Modules that jobs import, imported once by their slot, so that not every job's process does it again."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from pathlib import Path


class Imports:
    """What a slot imports for its jobs: modules of the installation; of a script only what brings jobs' functions."""

    def __init__(self) -> None:
        self._tried: set[str] = set()

    def new(self, before: set[str], home: str, takes_own: bool) -> list[str]:
        """Return, in a job's process, which modules the job imported: those installed, with ``takes_own`` also its own.

        There are none if a thread runs now that may be theirs: a slot with threads could not be forked safely.
        """
        found = {name: sys.modules[name] for name in sys.modules.keys() - before}
        names = [
            name for name, module in found.items() if is_installed(module, home) or (takes_own and is_of(module, home))
        ]
        if not names or threads() != 1:
            return []
        place = {name: number for number, name in enumerate(sys.modules)}
        return sorted(names, key=place.__getitem__)

    def learn(self, names: list[str]) -> None:
        """Import, in the slot, what a job imported."""
        for name in names:
            if name not in sys.modules and name not in self._tried:
                self._tried.add(name)
                with warnings.catch_warnings(), contextlib.suppress(Exception):  # the next job says so itself
                    warnings.simplefilter("ignore")
                    importlib.import_module(name)


def is_installed(module: object, home: str) -> bool:
    """Say whether a module belongs to the installation: it is built in, or its file is not below ``home``."""
    spec = getattr(module, "__spec__", None)
    if spec is None or getattr(module, "__name__", None) != spec.name:
        return False
    origin = getattr(module, "__file__", None)
    if not origin:
        return spec.origin in ("built-in", "frozen")
    return any(f"{os.sep}{part}{os.sep}" in origin for part in ("site-packages", "dist-packages")) or (
        origin.startswith(os.path.dirname(os.__file__) + os.sep) and not origin.startswith(home)
    )


def is_of(module: object, home: str) -> bool:
    """Say whether a module's file is below ``home``."""
    return str(getattr(module, "__file__", None) or "").startswith(home + os.sep)


def threads() -> int:
    """Return how many threads this process has, those of libraries included; 1 where the system does not tell."""
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        return 1
