"""The shelf: the directory of wheels that a master gives to devices, and the list of what lies there.

One version of each distribution lies there, the master's own, so that all devices of a cluster have the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from octapi.device import files
from octapi.errors import WheelProblem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DIRECTORY: Final = "wheels"
LIST: Final = "wheels.json"
#: name and version, then python, abi and platform tags, perhaps with a build number before them
FILE: Final = re.compile(r"([A-Za-z0-9_.]+)-([A-Za-z0-9_.+!]+)(?:-\d\w*)?-([\w.]+-[\w.]+-[\w.]+)\.whl")


class Wheel(NamedTuple):
    """One wheel on the shelf: file name, bytes, and SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


def normal(name: str) -> str:
    """Return a distribution's name as wheels spell it."""
    return re.sub(r"[-_.]+", "_", name).lower()


def distribution(file: str) -> tuple[str, str]:
    """Return the normal name and the version of a wheel's file.  Raises :exc:`WheelProblem` for other names."""
    found = FILE.fullmatch(file)
    if found is None:
        raise WheelProblem(f"{file[:100]!r} is not the name of a wheel.")
    return normal(found.group(1)), found.group(2)


def read(place: Path) -> list[Wheel]:
    """Return what lies on the shelf; nothing where there is no list, or one that cannot be read."""
    try:
        rows = json.loads((place / LIST).read_text(encoding="utf-8"))["wheels"]
        return [Wheel(row["name"], row["size"], row["sha256"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def public(wheels: Iterable[Wheel], release: str) -> dict[str, Any]:
    """Return the list as it is written and told."""
    return {"release": release, "wheels": [wheel._asdict() for wheel in sorted(wheels)]}


def hash_of(path: Path) -> Wheel:
    """Measure a file."""
    with path.open("rb") as file:
        return Wheel(path.name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def outdated(there: Iterable[str], new: Iterable[str]) -> list[str]:
    """Return which of the files that are there are of another version than the new ones of the same distribution."""
    versions = dict(distribution(name) for name in new)
    rows = [(name, *distribution(name)) for name in there]
    return [name for name, package, version in rows if versions.get(package, version) != version]


def kind(file: str) -> tuple[str, str, frozenset[str]]:
    """Return what makes two wheels the same although their names list the same tags in another order."""
    found = FILE.fullmatch(file)
    assert found is not None
    return (*distribution(file), frozenset(re.split(r"[-.]", found.group(3))))


def make(place: Path) -> None:
    """Make the shelf's directory; the home above it too, closed to others, for an identity may come to lie there."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)


def put(place: Path, source: Path, release: str) -> list[str]:
    """Put the wheels of the directory ``source`` on the shelf, and return the names of others that had to go.

    Wheels of another version of the same distribution go.  Raises :exc:`WheelProblem` and OSError.
    """
    make(place)
    new = sorted(path.name for path in source.glob("*.whl"))
    there = sorted(path.name for path in place.glob("*.whl"))
    known = {kind(name): name for name in there}
    gone = outdated(there, new)
    twins = [known[kind(name)] for name in new if known.get(kind(name), name) != name]
    for name in new:
        (source / name).replace(place / name)
    write_list(place, release, {*there, *new} - {*gone, *twins})
    for name in {*gone, *twins}:
        (place / name).unlink()
    return gone


def write_list(place: Path, release: str, names: Iterable[str]) -> None:
    """Replace the list whole."""
    text = json.dumps(public([hash_of(place / name) for name in names], release), indent=1)
    files.replace(place / LIST, text)
