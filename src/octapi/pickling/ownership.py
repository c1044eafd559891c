"""Whose a module is: the user's own travels to workers, Python's and installed packages are there."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any, Final

#: never sent: octapi and dispy are on every worker
OURS: Final = frozenset({"octapi", "dispy", "__main__", "__mp_main__"})


def is_own(module: object) -> bool:
    """Say whether an imported module is the user's own."""
    spec = getattr(module, "__spec__", None)
    name = getattr(module, "__name__", "")
    if spec is None or not isinstance(name, str) or name.partition(".")[0] in OURS:
        return False
    places = places_of(spec)
    return bool(places) and not any(is_library(place) for place in places)


def places_of(spec: Any) -> list[Path]:
    """Return where a module lies: its file, or its directories if it is a package without one."""
    origin = getattr(spec, "origin", None)
    if isinstance(origin, str) and getattr(spec, "has_location", False):
        return [Path(origin)]
    if origin in (None, "namespace") and getattr(spec, "submodule_search_locations", None) is not None:
        return [Path(place) for place in spec.submodule_search_locations]
    return []


@functools.lru_cache(maxsize=4096)
def is_library(place: Path) -> bool:
    """Say whether a file or directory belongs to a Python installation."""
    if {"site-packages", "dist-packages"} & set(place.parts):
        return True
    full = Path(os.path.realpath(place))
    here = [Path(os.__file__).parent, Path(os.path.realpath(os.__file__)).parent, Path(sys.executable).parent]
    return any(one.is_relative_to(prefix) for prefix in here for one in (place, full))
