"""Modules that lie beside the script: found, and sent to workers as source text.

Everything that a function's module, or the script, imports from the script's own directory is
sent, also what those modules import in turn.  Installed packages are not.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi.dispatch.computation import File

if TYPE_CHECKING:
    from collections.abc import Iterator

#: the most source that is sent without being asked for, in bytes
LIMIT = 8 << 20


def beside(function: Any) -> tuple[File, ...]:
    """Return the modules beside the script that ``function`` may need, as files."""
    roots = script_roots()
    if not roots:
        return ()
    start = {str(getattr(function, "__module__", "") or "")}
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    names = set(start)
    if path and path.endswith(".py"):
        names |= imported(path)
    names |= {n for n, m in list(sys.modules.items()) if root_of(getattr(m, "__file__", None), roots) is not None}
    return tuple(collect(names - {"__main__", "octapi", "dispy"}, roots))


def script_roots() -> tuple[Path, ...]:
    """Return the directories on ``sys.path`` whose modules are the user's own, not an installation's."""
    roots = [Path(entry or ".").absolute() for entry in sys.path]
    return tuple(root for root in dict.fromkeys(roots) if root.is_dir() and not is_library(root))


def is_library(root: Path) -> bool:
    """Say whether a directory belongs to a Python installation."""
    if {"site-packages", "dist-packages"} & set(root.parts):
        return True
    return any(root.is_relative_to(prefix) for prefix in (Path(os.__file__).parent, Path(sys.executable).parent))


def root_of(path: str | None, roots: tuple[Path, ...]) -> Path | None:
    """Return the root below which a module's file lies."""
    if not path or "site-packages" in path or not path.endswith(".py"):
        return None
    full = Path(path).absolute()
    return next((root for root in roots if full.is_relative_to(root)), None)


def collect(names: set[str], roots: tuple[Path, ...]) -> Iterator[File]:
    """Yield the files of the named modules, and of those they import, while they lie below a root."""
    seen: set[str] = set()
    total = 0
    todo = sorted(names)
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    while todo:
        name = todo.pop().split(".")[0]
        if not name or name in seen or name in ("octapi", "dispy"):
            continue
        seen.add(name)
        for root in roots:
            for path in module_files(root, name):
                if main and path == Path(main).absolute() and name != "__main__":
                    continue
                data = path.read_bytes()
                total += len(data)
                if total > LIMIT:
                    return
                facts = path.stat()
                yield File(path.relative_to(root).as_posix(), data, facts.st_mode & 0o777, facts.st_mtime)
                todo.extend(imported(str(path)))


def module_files(root: Path, name: str) -> list[Path]:
    """Return the source files of a top-level module or package in ``root``."""
    if (root / f"{name}.py").is_file():
        return [root / f"{name}.py"]
    if (root / name / "__init__.py").is_file():
        return sorted(path for path in (root / name).rglob("*.py") if "__pycache__" not in path.parts)
    return []


@functools.lru_cache(maxsize=1024)
def imported(path: str) -> frozenset[str]:
    """Return the top-level names that a source file imports anywhere in it."""
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return frozenset(names - set(sys.stdlib_module_names))
