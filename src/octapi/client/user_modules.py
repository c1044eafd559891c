"""The user's own modules: found, and sent to workers, where jobs import them as the script does.

A module is the user's own unless it belongs to Python or to an installed package.  Whatever the script has imported of
those is sent, wherever it came from: the script's directory, a place that was added to ``sys.path``, an archive, a file
loaded by its path.  So is what their source text, and the script's, imports anywhere in it.  A package goes with all
that lies in its directory.  What is left out is said, once.
"""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import os
import sys
import zipfile
import zipimport
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from octapi.pickling.ownership import OURS, is_library, is_own, places_of
from octapi.protocol.computation import File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: the most that is sent without being asked for, in bytes
LIMIT: Final = 64 << 20
#: a package whose parts may also lie in other directories
OTHER_PORTIONS: Final = b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
#: files of one package that are looked at; one with more is no package
MOST_FILES: Final = 20_000
#: directories in packages that hold nothing to import
ASIDE: Final = frozenset(
    {"__pycache__", ".git", ".hg", ".svn", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"}
)


class Source(NamedTuple):
    """One file to send: where it goes, where it is, and the archive that it is in, if it is in one."""

    path: str
    place: Path
    archive: Path | None = None


def beside(function: object) -> tuple[File, ...]:
    """Return the user's own modules that jobs of this script may need, as files."""
    files = tuple(read(walk(first_names(function), sources_of)))
    return (*files, *packages_around({file.path for file in files}))


def packages_around(paths: set[str]) -> Iterator[File]:
    """Yield an ``__init__.py`` for each package that has none, lest a package of that name on a worker hides it."""
    made = {""}
    for path in sorted(path for path in paths if path.endswith((".py", ".pyc", ".so"))):
        folder = ""
        for part in path.split("/")[:-1]:
            folder = f"{folder}{part}/"
            if f"{folder}__init__.py" in paths or f"{folder}__init__.pyc" in paths:
                break
            if folder not in made:
                made.add(folder)
                yield File(f"{folder}__init__.py", OTHER_PORTIONS)


def needed_by(script: Path) -> Iterator[tuple[str, Path]]:
    """Yield names and places of the modules in a script's directory that it, or one of those, imports."""
    root = str(script.resolve().parent)

    def find(name: str) -> Iterator[Source]:
        for spec in found_specs(name, [root]):
            yield from files_of(spec.name, spec)

    for source in walk(set(imported(str(script.resolve()))), find):
        yield source.path, source.place


def walk(names: set[str], find: Callable[[str], Iterable[Source]]) -> list[Source]:
    """Return the files of modules and of those that they import, as ``find`` finds them by name."""
    found: dict[str, Source] = {}
    todo = sorted(names)
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen or name.partition(".")[0] in OURS:
            continue
        seen.add(name)
        for source in find(name):
            if source.path not in found:
                found[source.path] = source
                todo.extend(imported(str(source.place)) if source.path.endswith(".py") and not source.archive else ())
    return sorted(found.values())


def first_names(function: object) -> set[str]:
    """Return the names of the modules from which the search starts: what is imported, and what the script names."""
    names = {name for name, module in list(sys.modules.items()) if is_own(module)}
    names.add(str(getattr(function, "__module__", "") or ""))
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    if path and path.endswith(".py"):
        names |= imported(str(path))
    package = getattr(main, "__package__", None)
    return names | {package} if package else names


def script_roots() -> tuple[Path, ...]:
    """Return the directories on ``sys.path`` whose modules are the user's own, not an installation's."""
    roots = [Path(entry or ".").absolute() for entry in sys.path]
    return tuple(root for root in dict.fromkeys(roots) if root.is_dir() and not is_library(root))


# ---- the files of a module


def sources_of(name: str) -> Iterator[Source]:
    """Yield the files of a module by its name, whether it is imported or not; none for those of others."""
    module = sys.modules.get(name)
    if module is not None:
        if is_own(module):
            yield from files_of(name, module.__spec__)
        return
    top = name.partition(".")[0]
    if not top or top in sys.stdlib_module_names:
        return
    path = [str(root) for root in script_roots()] + [entry for entry in sys.path if zipfile_at(entry)]
    for spec in found_specs(name, path):
        yield from files_of(spec.name, spec)


def found_specs(name: str, path: list[str]) -> Iterator[Any]:
    """Yield the specs of a module that is not imported, and of the packages around it; nothing is imported for it."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        full = ".".join(parts[:count])
        spec = importlib.machinery.PathFinder.find_spec(full, path)
        if spec is None or any(is_library(place) for place in places_of(spec)):
            return
        yield spec
        path = list(spec.submodule_search_locations or ())


def files_of(name: str, spec: Any) -> Iterator[Source]:
    """Yield the files of a module, at the places where workers will find it under its name."""
    where = name.replace(".", "/")
    places = places_of(spec)
    if isinstance(spec.loader, zipimport.zipimporter):
        yield from from_archive(Path(spec.loader.archive), where)
    elif spec.submodule_search_locations is None:
        for place in places:
            yield Source(where + suffix_of(place), place)
    elif spec.origin in (None, "namespace"):
        for place in places:
            yield from in_directory(where, place, deep=False)
    else:
        yield from in_directory(where, places[0].parent, deep=True)


def suffix_of(place: Path) -> str:
    """Return what a module's file has after its name: ``.py``, or what tells the platform of an extension."""
    for suffix in importlib.machinery.all_suffixes():
        if place.name.endswith(suffix) and suffix != ".so":
            return suffix
    return "".join(place.suffixes[-1:]) or ".py"


def in_directory(where: str, place: Path, *, deep: bool) -> Iterator[Source]:
    """Yield the files of a package; of one without a file of its own, those that lie directly in it."""
    count = 0
    for here, folders, names in os.walk(place):
        folders[:] = [name for name in sorted(folders) if deep and is_inside(Path(here, name))]
        under = Path(here).relative_to(place).as_posix()
        for name in sorted(name for name in names if not name.startswith(".")):
            count += 1
            if count > MOST_FILES:
                say_left((f"the rest of the more than {MOST_FILES:,} files in {place}",))
                return
            yield Source(f"{where}/{name}" if under == "." else f"{where}/{under}/{name}", Path(here, name))


def is_inside(folder: Path) -> bool:
    """Say whether a directory in a package is a part of it."""
    return folder.name not in ASIDE and not folder.name.startswith(".") and not (folder / "pyvenv.cfg").exists()


def zipfile_at(entry: str) -> bool:
    """Say whether an entry of ``sys.path`` is an archive."""
    return Path(entry).is_file() and zipfile.is_zipfile(entry)


def from_archive(archive: Path, where: str) -> Iterator[Source]:
    """Yield the files of a module that lies in an archive; below the place that is on ``sys.path``."""
    names = archive_names(str(archive), archive.stat().st_mtime_ns)
    for name in names:
        if name.startswith(f"{where}/") or name in (f"{where}.py", f"{where}.pyc"):
            yield Source(name, Path(name), archive)


@functools.lru_cache(maxsize=16)
def archive_names(archive: str, _changed: int) -> tuple[str, ...]:
    """Return the names of the files in an archive."""
    with zipfile.ZipFile(archive) as found:
        return tuple(name for name in found.namelist() if not name.endswith("/"))


# ---- reading


def read(sources: Iterable[Source]) -> Iterator[File]:
    """Read files while there is room for them, code before data; say what is left out."""
    left: list[str] = []
    total = 0
    for source in sorted(sources, key=lambda source: not source.path.endswith((".py", ".pyc", ".so"))):
        try:
            file = file_of(source, LIMIT - total)
        except OSError as error:
            left.append(f"{source.place} ({error.strerror or error})")
            continue
        if file is None:
            left.append(f"{source.place} ({source.place.stat().st_size / 1e6:,.0f} MB)")
            continue
        total += len(file.data)
        yield file
    if left:
        say_left(tuple(left))


def file_of(source: Source, room: int) -> File | None:
    """Read one file; None for one that is too large.  Raises OSError."""
    if source.archive is not None:
        facts = source.archive.stat()
        data = member(str(source.archive), facts.st_mtime_ns, str(source.place))
        return File(source.path, data, 0o644, facts.st_mtime) if len(data) <= room else None
    facts = source.place.stat()
    if facts.st_size > room:
        return None
    data = contents(str(source.place), facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)
    return File(source.path, data, facts.st_mode & 0o777, facts.st_mtime)


@functools.lru_cache(maxsize=512)
def contents(place: str, _modified: int, _changed: int, _size: int) -> bytes:
    """Return what is in a file; it is read again when its times or its size differ.  Raises OSError."""
    return Path(place).read_bytes()


@functools.lru_cache(maxsize=512)
def member(archive: str, _modified: int, name: str) -> bytes:
    """Return what is in a file of an archive."""
    with zipfile.ZipFile(archive) as found:
        return found.read(name)


@functools.lru_cache(maxsize=64)
def say_left(left: tuple[str, ...]) -> None:
    """Say which files are not sent; the same is said once."""
    few = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
    print(
        f"octapi: not sent to workers with the modules of this script: {few}. Up to {LIMIT >> 20} MB are sent by "
        "themselves; give a job other files with options(files=...).",
        file=sys.stderr,
        flush=True,
    )


@functools.lru_cache(maxsize=1024)
def imported_at(path: str, _changed: int) -> frozenset[str]:
    """Return the names that a source file imports anywhere in it, relative ones aside: they are in its package."""
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(name for name in names if name.partition(".")[0] not in sys.stdlib_module_names)


def imported(path: str) -> frozenset[str]:
    """Return the names that a source file imports, as it is now."""
    try:
        return imported_at(path, Path(path).stat().st_mtime_ns)
    except OSError:
        return frozenset()
