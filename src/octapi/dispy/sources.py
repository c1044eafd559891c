"""From what dispy scripts pass as computation and ``depends`` to source text and files."""

from __future__ import annotations

import inspect
import shutil
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi.dispatch.computation import File
from octapi.errors import DispyError

if TYPE_CHECKING:
    from collections.abc import Iterable


def source_of(thing: Any) -> str:
    """Return a function's or class's source, its first line moved to the left margin."""
    lines = inspect.getsourcelines(thing)[0]
    lines[0] = lines[0].lstrip()
    return "".join(lines) + "\n"


def read(path: str | Path, cwd: Path) -> File:
    """Read a file; below ``cwd`` it keeps its relative name.  Raises :exc:`DispyError`."""
    full = Path(path).absolute()
    if not full.is_file():
        raise DispyError(f'File "{path}" is not valid')
    facts = full.stat()
    name = full.relative_to(cwd).as_posix() if full.is_relative_to(cwd) else full.name
    return File(name, full.read_bytes(), facts.st_mode & 0o777, facts.st_mtime)


def module_file(module: types.ModuleType, cwd: Path) -> File:
    """Read a module's source file, placed by its path below ``cwd`` or by its package name."""
    path = Path(module.__file__ or "").with_suffix(".py").absolute()
    file = read(path, cwd)
    if path.is_relative_to(cwd):
        return file
    parts = module.__name__.split(".")
    place = [*parts, "__init__.py"] if path.name == "__init__.py" else [*parts[:-1], path.name]
    return File("/".join(place), file.data, file.mode, file.mtime)


def collect(depends: Iterable[Any], cwd: Path) -> tuple[str, tuple[File, ...]]:
    """Split ``depends`` into source text and files.  Raises :exc:`DispyError` for what cannot be sent."""
    text: list[str] = []
    files: list[File] = []
    for item in depends:
        if isinstance(item, (str, Path)):
            files.append(read(item, cwd))
        elif isinstance(item, types.ModuleType):
            files.append(module_file(item, cwd))
        elif inspect.isfunction(item) or inspect.isclass(item):
            text.append(source_of(item))
        elif hasattr(item, "__module__"):
            text.append(source_of(type(item)))
        else:
            raise DispyError(f"Invalid depends: {item!r} is a {type(item).__name__}")
    return "".join(text), tuple(files)


def program(path: str) -> Path:
    """Find a program as a file or in PATH.  Raises :exc:`DispyError`."""
    found = Path(path) if Path(path).is_file() else shutil.which(path)
    if found is None:
        raise DispyError(f'File "{path}" is not valid')
    return Path(found)
