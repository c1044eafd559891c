"""Plain values: those that travel and are shared without care."""

from __future__ import annotations

from typing import Final

#: values that cannot be changed: sharing one between jobs of a batch cannot be noticed
SIMPLE: Final = frozenset({int, float, str, bytes, bool, complex, type(None)})
