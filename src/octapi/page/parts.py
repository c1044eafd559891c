"""The packages that the page is made of, which may be missing."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MISSING: Final = "no page: starlette, uvicorn or segno, which it is made of, are missing here. Install OctaPi again."
PARTS: Final = ("starlette", "uvicorn", "segno")
DASK_PARTS: Final = ("bokeh", "websockets")
DASK_MISSING: Final = (
    f"no Dask dashboard: its parts are not installed. {sys.executable} -m pip install bokeh websockets brings them."
)


def are_here(names: Iterable[str]) -> bool:
    """Say whether all of these packages can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in names)


def is_installed() -> bool:
    """Say whether the page's extra is here."""
    return are_here(PARTS)
