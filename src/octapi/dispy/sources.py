"""From what dispy scripts pass as ``depends`` to files and pieces of source text."""

from __future__ import annotations

import inspect
import shutil
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

from octapi.dispy.shapes import name_of
from octapi.errors import DispyError
from octapi.protocol.computation import File

if TYPE_CHECKING:
    from collections.abc import Iterable

    from octapi.dispy.argument_types import Depend, FilePath
    from octapi.dispy.shapes import Shapes


def read(path: FilePath, cwd: Path) -> File:
    """Read a file; below ``cwd`` it keeps its relative name.  Raises :exc:`DispyError`."""
    full = Path(path).absolute()
    if not full.is_file():
        raise DispyError(f'File "{path}" is not valid')
    return File.read(full, full.relative_to(cwd).as_posix() if full.is_relative_to(cwd) else full.name)


def module_files(module: types.ModuleType, cwd: Path) -> list[File]:
    """Read a module's file, and those of what was imported of a package; nothing of the standard library.

    Raises :exc:`DispyError` for a module that is no file.
    """
    name = module.__name__
    if name.partition(".")[0] in sys.stdlib_module_names:
        return []
    inner = [m for key, m in sorted(sys.modules.items()) if key.startswith(f"{name}.") and hasattr(module, "__path__")]
    found = [module_file(part, cwd) for part in (module, *inner) if getattr(part, "__file__", None)]
    if not found:
        raise DispyError(f"Module {name} is not a file, so it cannot be sent. Name the files that make it up.")
    return found


def module_file(module: types.ModuleType, cwd: Path) -> File:
    """Read a module's file, placed by its path below ``cwd`` or by its package name."""
    path = Path(module.__file__ or "").absolute()
    if path.suffix == ".pyc" and path.with_suffix(".py").is_file():
        path = path.with_suffix(".py")
    file = read(path, cwd)
    if path.is_relative_to(cwd):
        return file
    parts = module.__name__.split(".")
    place = [*parts, "__init__.py"] if path.name == "__init__.py" else [*parts[:-1], path.name]
    return File("/".join(place), file.data, file.mode, file.mtime)


def collect(depends: Iterable[Depend], cwd: Path, shapes: Shapes) -> tuple[File, ...]:
    """Put functions and classes of ``depends`` into ``shapes``, and return the files.

    Raises :exc:`DispyError` for what cannot be sent.
    """
    files: list[File] = []
    for item in depends:
        if isinstance(item, (str, Path)):
            files.append(read(item, cwd))
        elif isinstance(item, types.ModuleType):
            files.extend(module_files(item, cwd))
        elif inspect.isfunction(item) and not name_of(item):
            raise DispyError(f"Invalid depends: {item!r} has no name by which a job could call it. Give it one.")
        elif inspect.isclass(item) or inspect.isfunction(inspect.unwrap(item)):
            shapes.add(item)
        elif hasattr(item, "__module__"):
            shapes.add(type(item))
        else:
            raise DispyError(f"Invalid depends: {item!r} is a {type(item).__name__}")
    return tuple(files)


def program(path: str) -> Path:
    """Find a program as a file or in PATH.  Raises :exc:`DispyError`."""
    found = Path(path) if Path(path).is_file() else shutil.which(path)
    if found is None:
        raise DispyError(f'File "{path}" is not valid')
    return Path(found)
