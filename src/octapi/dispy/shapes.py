"""From functions and classes of a script to pieces of source text, or to what is loaded in a text's place."""

from __future__ import annotations
import __future__

import ast
import builtins
import functools
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any

from octapi.dispy.byvalue import dumps, is_own
from octapi.errors import DispyError
from octapi.protocol.source_pieces import BELOW, Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LAZY_ANNOTATIONS = __future__.annotations.compiler_flag
#: what a piece is said to be the file of when it holds no text of the script
OURS = "<octapi>"


class Shapes:
    """The pieces of one computation in the order in which they are executed, and the names that they make.

    Text is what travels wherever text is enough: it runs under other Python versions too.  What refers to more
    than the node has travels by value: closures, lambdas, what was typed in at a prompt, and what is
    decorated with functions that are not among the dependencies.
    """

    def __init__(self, given: Iterable[str]) -> None:
        self.pieces: list[Piece] = []
        self.names: set[str] = set()
        self.has_bytecode = False
        self._given = frozenset(given) | frozenset(vars(builtins))
        self._seen: list[tuple[Any, str]] = []

    def add(self, thing: object) -> str:
        """Take a function, a class or a partial, and return its name.  Raises :exc:`DispyError` if it cannot travel."""
        known = next((name for other, name in self._seen if other is thing), None)
        if known is not None:
            return known
        name = name_of(thing) or f"_nameless_{len(self._seen)}"
        self._seen.append((thing, name))
        source = located(thing)
        imports = self._imports(thing, name, source)
        if source is None or imports is None:
            self._add_value(thing, name, source)
        else:
            if imports:
                self.pieces.append(Piece(OURS, 1, "".join(imports)))
            self.pieces.append(source._replace(flags=source.flags | self._lazy(source)))
        self.names.add(name)
        return name

    def call(self, name: str) -> None:
        """Let one of the functions be called, at this place."""
        self.pieces.append(Piece(OURS, 1, f"{name}()\n"))

    def _imports(self, thing: Any, name: str, source: Piece | None) -> list[str] | None:
        """Return the imports that let the text of a definition run on a node; None if they are not enough."""
        node = definition(source) if source is not None else None
        inner = inspect.unwrap(thing)
        code = getattr(inner, "__code__", None)
        if node is None or node.name != name or (code is not None and code.co_freevars):
            return None
        there = getattr(inner, "__globals__", None) or vars(sys.modules.get(thing.__module__, types))
        words = needed(node)
        missing = sorted(words - self._given - self.names - {name})
        found = [importing(word, there.get(word)) for word in missing]
        for word in words & self.names:  # a decorator runs as soon as the text does
            found += filter(None, (importing(*each) for each in used_by(there.get(word))))
        return None if None in found else [line for line in found if line is not None]

    def _lazy(self, source: Piece) -> int:
        """Return the flag that keeps annotations text where the node has no such names."""
        node = definition(source)
        found = set() if node is None else names_in(annotations_of(node))
        return 0 if found <= self._given | self.names else LAZY_ANNOTATIONS

    def _add_value(self, thing: object, name: str, source: Piece | None) -> None:
        try:
            data = dumps(thing, source)
        except Exception as why:
            if source is None or not name_of(thing):
                raise DispyError(f"{name} cannot be sent to nodes: {type(why).__name__}: {why}") from why
            self.pieces.append(source)  # as dispy does: what is missing there is said by the job
            return
        self.has_bytecode = True
        loading = f"__import__('octapi.pool.source_text', fromlist=['take']).take({data!r}, globals())"
        self.pieces.append(Piece(OURS, 1, f"{name} = {loading}\n"))


def name_of(thing: Any) -> str:
    """Return the name that a function, class or partial has on nodes; an empty one if it has none in the script."""
    if isinstance(thing, functools.partial):
        return ""
    name = str(thing.__name__)
    if name.isidentifier():
        return name
    module = sys.modules.get(thing.__module__)
    return next((key for key, value in vars(module or types).items() if value is thing), "")


def located(thing: Any) -> Piece | None:
    """Return the source text of a function or class with its place; None if there is none, or it is no Python."""
    thing = inspect.unwrap(thing)
    try:
        lines, first = inspect.getsourcelines(thing)
        file = inspect.getsourcefile(thing) or inspect.getfile(thing)
    except (OSError, TypeError, SyntaxError, IndexError):  # a prompt, a builtin, a file that was changed
        return None
    code = getattr(thing, "__code__", None)
    flags = code.co_flags & LAZY_ANNOTATIONS if code is not None else lazy_in(thing)
    return Piece(code.co_filename if code is not None else file, max(first, 1), "".join(lines), flags)


def lazy_in(owner: object) -> int:
    """Return the flag of lazy annotations if the module of a class asked for it."""
    feature = vars(sys.modules.get(owner.__module__, types)).get("annotations")
    return LAZY_ANNOTATIONS if feature is __future__.annotations else 0


def definition(source: Piece) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None:
    """Return the one definition that a text consists of; None if it is something else."""
    try:
        body = ast.parse((BELOW if source.is_indented else "") + source.text).body
    except (SyntaxError, ValueError):
        return None
    if source.is_indented and isinstance(body[0], ast.If):
        body = body[0].body
    if len(body) == 1 and isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return body[0]
    return None


def needed(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    """Return the names that a definition looks up when it is executed, its annotations left out."""
    if isinstance(node, ast.ClassDef):
        bound = {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
        bound |= {part.name for part in node.body if hasattr(part, "name")}
        inner = [*node.decorator_list, *node.bases, *(word.value for word in node.keywords)]
        return (names_in(inner) | set().union(*map(needed_by, node.body))) - bound
    return names_in([*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)])


def needed_by(part: ast.stmt) -> set[str]:
    """Return the names that one statement of a class looks up when it is executed."""
    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return needed(part)
    if isinstance(part, ast.AnnAssign):
        return names_in([part.value] if part.value is not None else [])
    return names_in([part])


def annotations_of(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the annotations of a definition, those within it too."""
    for part in ast.walk(node):
        for found in (getattr(part, "annotation", None), getattr(part, "returns", None)):
            if found is not None:
                yield found


def names_in(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that expressions read; those of lambdas' and comprehensions' own are among them."""
    parts = [part for node in nodes for part in ast.walk(node)]
    own = {part.arg for part in parts if isinstance(part, ast.arg)}
    own |= {part.id for part in parts if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load)}
    return {part.id for part in parts if isinstance(part, ast.Name)} - own


def used_by(function: object) -> list[tuple[str, Any]]:
    """Return the global names that a function refers to, with their values."""
    if not isinstance(function, types.FunctionType):
        return []
    codes, names = [function.__code__], set[str]()
    while codes:
        code = codes.pop()
        names |= set(code.co_names)
        codes += (inner for inner in code.co_consts if isinstance(inner, types.CodeType))
    return [(name, function.__globals__[name]) for name in sorted(names) if name in function.__globals__]


def importing(name: str, value: object) -> str | None:
    """Return the line that imports on a node what the script calls ``name``; None if nodes have no such module."""
    if isinstance(value, types.ModuleType):
        return None if is_own(value) or value.__name__ == "__main__" else f"import {value.__name__} as {name}\n"
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    inside = str(getattr(value, "__qualname__", None) or getattr(value, "_name", None) or "")
    if module is None or module.__name__ == "__main__" or is_own(module) or not inside.isidentifier():
        return None
    return f"from {module.__name__} import {inside} as {name}\n" if getattr(module, inside, None) is value else None


def owner_of(method: Callable[..., Any]) -> Any:
    """Return the outermost class that a function was taken from; None if it is not at its module's top level."""
    first, dot, _ = method.__qualname__.partition(".")
    return getattr(sys.modules.get(method.__module__), first, None) if dot and first != "<locals>" else None
