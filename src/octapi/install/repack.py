"""Makes wheels again from what is installed here, so that a master without internet can give them to devices.

What pip wrote down of an installed distribution (RECORD) names all its files; its tags (WHEEL) say for which machines
and Pythons they are good.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import shutil
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement

import octapi
from octapi import _version
from octapi.errors import WheelProblem
from octapi.install.wheel_index import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: what every device gets, so that any of them may become the master
EXTRAS: Final = ("examples",)
ROOT: Final = f"octapi[{','.join(EXTRAS)}]"
#: what pip notes of an installation, which is no part of a wheel
NOTES: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
DISPY_METADATA: Final = "Metadata-Version: 2.1\nName: octapi-dispy\nVersion: {0}\nRequires-Dist: octapi=={0}\n"
PURE: Final = "Wheel-Version: 1.0\nGenerator: octapi\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def needed(root: str = ROOT, environment: Mapping[str, str] | None = None) -> dict[str, metadata.Distribution]:
    """Return what is installed of a requirement and of all that it needs, by normal name.

    Raises :exc:`WheelProblem` when something is missing; distributions that only an extra needs may be.
    """
    found: dict[str, metadata.Distribution] = {}
    waiting = [(Requirement(root), True)]
    while waiting:
        requirement, must_be = waiting.pop()
        name = normal(requirement.name)
        try:
            package = found.get(name) or metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError as error:
            if must_be and name == "octapi" and (checkout() / "scripts" / "install").exists():
                raise WheelProblem(from_source(checkout(), sys.prefix != sys.base_prefix)) from error
            if must_be:
                raise WheelProblem(f"{requirement.name} is not installed here, and OctaPi needs it.") from error
            continue
        if name not in found:
            found[name] = package
            waiting += [(row, not extra) for row, extra in requirements(package, requirement.extras, environment)]
    return found


def checkout() -> Path:
    """Return the directory of the source that this process runs from, where nothing is installed."""
    return Path(octapi.__file__).parents[2]


def from_source(place: Path, is_venv: bool) -> str:
    """Say why OctaPi that runs from its source in ``place`` has no wheel, and the line that brings one.

    A virtual environment takes it by its own pip; on the system's Python the installer makes an environment.
    """
    why = f"This OctaPi runs from its source in {place}, and wheels for devices are made of what is installed."
    if is_venv:
        return f"{why} Run this, and try again: {sys.executable} -m pip install {shlex.quote(str(place))}"
    own = shlex.quote(str(place / "scripts" / "install"))
    return f"{why} Run this, and start the master again with the octapi that it installs: sudo {own}"


def requirements(
    package: metadata.Distribution, extras: Iterable[str], environment: Mapping[str, str] | None = None
) -> Iterator[tuple[Requirement, bool]]:
    """Yield what a distribution needs, and whether only one of ``extras`` needs it."""
    markers = dict(environment or {})
    for text in package.requires or ():
        row = Requirement(text)
        if row.marker is None or row.marker.evaluate(markers | {"extra": ""}):
            yield row, False
        elif any(row.marker.evaluate(markers | {"extra": extra}) for extra in extras):
            yield row, True


def pack(package: metadata.Distribution, target: Path) -> Path:
    """Make the wheel of an installed distribution.  Raises :exc:`WheelProblem` when it cannot be."""
    name, version = package.metadata["Name"], package.version
    tags = [line[5:] for line in (package.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")]
    if not tags or package.files is None:
        raise WheelProblem(
            f"{name} was not installed by pip here but by the system's packages, so its wheel cannot be made again. "
            "Install OctaPi with its installer, or get all wheels with 'octapi wheels fetch'."
        )
    if json.loads(package.read_text("direct_url.json") or "{}").get("dir_info", {}).get("editable"):
        if normal(name) == "octapi":
            raise WheelProblem(from_source(checkout(), sys.prefix != sys.base_prefix))
        raise WheelProblem(f"{name} is installed as editable here; install it without -e to give it to devices.")
    rows = {
        file.as_posix(): Path(str(file.locate()))
        for file in package.files
        if ".." not in file.parts and not file.is_absolute() and "__pycache__" not in file.parts
    }
    home = next(name.partition("/")[0] for name in rows if name.endswith(".dist-info/METADATA"))
    parts = {
        name: path.read_bytes()
        for name, path in rows.items()
        if path.is_file() and name not in [f"{home}/{note}" for note in NOTES]
    }
    return write(target / f"{normal(name)}-{version}-{compressed(tags)}.whl", home, parts)


def pack_dispy(target: Path) -> Path:
    """Make the wheel that provides ``import dispy``; it holds one small file, which this package has too."""
    from octapi import shim

    version = _version.__version__
    home = f"octapi_dispy-{version}.dist-info"
    source = Path(next(iter(shim.__path__))) / "dispy" / "__init__.py"
    parts = {
        "dispy/__init__.py": source.read_bytes(),
        f"{home}/METADATA": DISPY_METADATA.format(version).encode(),
        f"{home}/WHEEL": PURE.encode(),
    }
    return write(target / f"octapi_dispy-{version}-py3-none-any.whl", home, parts)


def compressed(tags: Iterable[str]) -> str:
    """Return the tags of a wheel as its file name has them (PEP 425)."""
    sets: list[list[str]] = [[], [], []]
    for tag in tags:
        for known, part in zip(sets, tag.strip().split("-"), strict=True):
            if part not in known:
                known.append(part)
    return "-".join(".".join(known) for known in sets)


def write(path: Path, home: str, parts: Mapping[str, bytes]) -> Path:
    """Write a wheel with a list of its files (RECORD) in its directory ``home``, and return its path."""
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name in sorted(parts, key=lambda name: (name.startswith(home), name)):
            digest = base64.urlsafe_b64encode(hashlib.sha256(parts[name]).digest()).rstrip(b"=").decode()
            record.append(f"{quoted(name)},sha256={digest},{len(parts[name])}\n")
            wheel.writestr(entry(name), parts[name])
        record.append(f"{home}/RECORD,,\n")
        wheel.writestr(entry(f"{home}/RECORD"), "".join(record))
    return path


def entry(name: str) -> zipfile.ZipInfo:
    """Return the entry of a file, always with the same date, so that the same files make the same wheel."""
    found = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    found.compress_type = zipfile.ZIP_DEFLATED
    found.external_attr = 0o100644 << 16
    return found


def quoted(name: str) -> str:
    """Return a file name as RECORD has it, a CSV file."""
    return '"' + name.replace('"', '""') + '"' if "," in name or '"' in name else name


def find_pip(target: Path) -> Path:
    """Put a wheel of pip into ``target``: what is installed, or the one that Python or Debian bring along.

    Raises :exc:`WheelProblem` when there is none.
    """
    try:
        return pack(metadata.distribution("pip"), target)
    except (metadata.PackageNotFoundError, WheelProblem):
        pass
    places = [Path("/usr/share/python-wheels")]
    try:
        import ensurepip

        places.append(Path(ensurepip.__file__).parent / "_bundled")
    except ImportError:
        pass
    for path in (path for place in places for path in sorted(place.glob("pip-*.whl"))):
        return Path(shutil.copy(path, target))
    raise WheelProblem("There is no pip here, which devices need. Install it: the package python3-pip-whl is enough.")
