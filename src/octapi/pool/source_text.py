"""Source text of a script, compiled so that tracebacks name the script's file, its lines and what stands there."""

from __future__ import annotations

import linecache
import pickle
import types
from typing import TYPE_CHECKING, Any

from octapi.protocol import source_pieces

if TYPE_CHECKING:
    from collections.abc import Iterable

    from octapi.protocol.source_pieces import Piece


def compiled(text: str) -> list[types.CodeType]:
    """Compile a text piece by piece.  Raises SyntaxError as ``compile`` does, and ValueError for a broken mark."""
    found = []
    for piece in source_pieces.read(text):
        show(piece)
        below = source_pieces.BELOW if piece.is_indented else ""
        padding = "\n" * (piece.first - 1 - bool(below))
        found.append(compile(padding + below + piece.text, piece.file, "exec", piece.flags, dont_inherit=True))
    return found


def install(texts: Iterable[tuple[str, str]]) -> None:
    """Let tracebacks and :mod:`inspect` find the texts of code that came from elsewhere."""
    for name, text in texts:
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)


def execute(codes: list[types.CodeType], names: dict[str, Any]) -> None:
    """Execute what :func:`compiled` returned, in one namespace.  Raises what the text raises."""
    for code in codes:
        exec(code, names)


def show(piece: Piece) -> None:
    """Let tracebacks find the lines of a piece.

    Of several pieces of one file each keeps its lines; a time of None keeps ``linecache`` from looking for the file.
    """
    entry = linecache.cache.get(piece.file, (0, None, [], piece.file))
    lines = list(entry[2]) if len(entry) == 4 else []
    new = piece.text.splitlines(keepends=True)
    lines += ["\n"] * (piece.first - 1 + len(new) - len(lines))
    lines[piece.first - 1 : piece.first - 1 + len(new)] = new
    linecache.cache[piece.file] = (sum(map(len, lines)), None, lines, piece.file)


def take(data: bytes, names: dict[str, Any]) -> Any:
    """Load what has no source text of its own, and let it live in ``names`` as if it had.

    The global names that a function brought are added where they are missing.  Raises what unpickling raises.
    """
    loaded, file, first, text = pickle.loads(data)
    if text:
        show(source_pieces.Piece(file, first, text))
    for function in functions(loaded):
        own = function.__globals__
        if not isinstance(loaded, type):
            for key, value in list(own.items()):
                names.setdefault(key, moved(value, own, names))
        for key, value in names.items():  # for those functions that keep the namespace they came with
            own.setdefault(key, value)
    return moved(loaded, getattr(loaded, "__globals__", {}), names)


def functions(loaded: object) -> list[types.FunctionType]:
    """Return the functions that a function, partial or class is made of."""
    found = vars(loaded).values() if isinstance(loaded, type) else (getattr(loaded, "func", loaded),)
    return [value for value in found if isinstance(value, types.FunctionType)]


def moved(value: object, own: dict[str, Any], names: dict[str, Any]) -> Any:
    """Return a function of the namespace ``own`` as one of ``names``; anything else as it is."""
    if not isinstance(value, types.FunctionType) or value.__globals__ is not own:
        return value
    twin = types.FunctionType(value.__code__, names, value.__name__, value.__defaults__, value.__closure__)
    twin.__kwdefaults__ = value.__kwdefaults__
    twin.__qualname__ = value.__qualname__
    twin.__module__ = value.__module__
    twin.__dict__.update(value.__dict__)
    return twin
