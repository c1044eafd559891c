"""Of a script what its jobs' tracebacks and logs need: the text of its code, and how it logs."""

from __future__ import annotations

import functools
import linecache
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from octapi.client.user_modules import is_library

if TYPE_CHECKING:
    from collections.abc import Iterable

#: the most text that is sent for tracebacks, in characters
MOST: Final = 1 << 20


def of(code: bytes) -> tuple[tuple[str, str], ...]:
    """Return file name and text of the sources of bytecode, and of the script, while there is room.

    Cells of notebooks and lines typed at a prompt have texts too, where the prompt keeps them.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    known = own_files(len(sys.modules), next(reversed(sys.modules))) | set(linecache.cache)
    names = {name for name in known if name.encode(errors="surrogatepass") in code and not is_library(Path(name))}
    if script:
        names.add(script)
    found = []
    room = MOST
    for name in sorted(names, key=lambda name: (name != script, name)):
        linecache.checkcache(name)
        text = "".join(linecache.getlines(name))
        if text and len(text) <= room:
            room -= len(text)
            found.append((name, text))
    return tuple(found)


@functools.lru_cache(maxsize=1)
def own_files(_count: int, _last: str) -> frozenset[str]:
    """Return the source files of the user's own modules; the arguments tell one state of all from another."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return frozenset(
        name for name in files if isinstance(name, str) and name.endswith(".py") and not is_library(Path(name))
    )


def install(texts: Iterable[tuple[str, str]]) -> None:
    """Let tracebacks and :mod:`inspect` find the texts of code that came from elsewhere."""
    for name, text in texts:
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)


def logging_of_script() -> tuple[int, str] | None:
    """Return the level and the format of the root logger's first stream handler, or None where there is none."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, logging.StreamHandler) and getattr(handler, "stream", None) in (sys.stdout, sys.stderr):
            layout = getattr(handler.formatter, "_fmt", None) or logging.BASIC_FORMAT
            return root.level, layout
    return None
