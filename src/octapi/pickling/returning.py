"""Pickling of what a job gives back: what the script has is named, the rest is sent by value."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from octapi.pickling import arriving
from octapi.pickling.arriving import MAIN
from octapi.pickling.sending import Pickler

if TYPE_CHECKING:
    import types


class HomePickler(Pickler):
    """Pickles for the script itself."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, is_whole=False)
        self.sent = arriving.sent()
        self.facts = {}

    def bound(self, obj: object) -> str | None:
        """Bind nothing: the script has its own."""
        return None

    def known(self, obj: object) -> str | None:
        """Return the name by which the script has an object: it was sent, or all of ``__main__`` is the script's."""
        path = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
        if not isinstance(path, str):
            return self.name_of(obj)
        if getattr(obj, "__module__", MAIN) != MAIN:
            return None
        top, *rest = path.split(".")
        found = self.main.get(top)
        if self.sent is not None and (top not in self.sent or self.sent[top] is not found):
            return None
        for part in rest:
            found = getattr(found, part, None)
        return path if found is obj else None

    def name_of(self, value: object) -> str | None:
        """Return the name of a value that has none of its own."""
        known = self.main if self.sent is None else self.sent
        return next((name for name, other in known.items() if other is value and self.main.get(name) is value), None)

    def mark_of(self, cls: object) -> str:
        """Return the mark by which the script knows a class, if it came from there."""
        main = sys.modules[MAIN]
        known = main.marks.get(cls) if isinstance(main, arriving.Main) else None
        return known or super().mark_of(cls)

    def home_of(self, function: types.FunctionType) -> tuple[Any, Any]:
        """Give a function of the script its globals there, or a copy if it uses what a job added to them."""
        if function.__globals__ is not self.main or not self.globals_of(function)[0]:
            return super().home_of(function)
        return arriving.function_near_main, self._apart.setdefault(id(self.main), {})

    def globals_of(self, function: types.FunctionType) -> tuple[dict[str, Any], Any]:
        """Return the globals that the script lacks."""
        values, submodules = super().globals_of(function)
        if function.__globals__ is self.main:
            known = self.main if self.sent is None else self.sent
            values = {name: value for name, value in values.items() if name not in known}
        return values, submodules


def dumps(obj: object) -> bytes:
    """Pickle for the script.  Raises whatever pickling raises."""
    with io.BytesIO() as file:
        HomePickler(file).dump(obj)
        return file.getvalue()
