"""Fetches wheels for devices of other kinds than the master: other machines, other Pythons.

pip reads the conditions of requirements for the Python that it runs on, so the requirements are followed here, for the
Python that is wanted; pip downloads.  ``octapi`` itself is never asked for by name: it comes from this installation.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from octapi.errors import WheelProblem
from octapi.install import repack
from octapi.install.wheel_index import distribution, normal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from packaging.requirements import Requirement


#: what Raspberry Pi OS and Debian run on
MACHINES: Final = ("aarch64", "x86_64")
#: the Pythons of Debian 12 and 13
PYTHONS: Final = ("3.11", "3.13")
#: the newest C library (2.MINOR) that the oldest of these systems has
GLIBC: Final = 36
PYTHON: Final = re.compile(r"3\.\d{1,2}")
MACHINE: Final = re.compile(r"[a-z0-9_]{2,20}")


class Target(NamedTuple):
    """A kind of device: ``machine`` as ``uname -m`` says it, ``python`` as ``3.13``."""

    machine: str
    python: str

    def environment(self) -> dict[str, str]:
        """Return what conditions of requirements are compared with."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_system": "Linux",
            "platform_python_implementation": "CPython",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def options(self) -> list[str]:
        """Return pip's options for this kind."""
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in range(GLIBC, 4, -1)]
        platforms += [f"manylinux{old}_{self.machine}" for old in ("2014", "2010", "1")] + [f"linux_{self.machine}"]
        found = ["--only-binary=:all:", "--no-deps", "--implementation", "cp", "--python-version", self.python]
        return found + [word for platform in platforms for word in ("--platform", platform)]


def targets(machines: Iterable[str], pythons: Iterable[str]) -> list[Target]:
    """Return all combinations.  Raises :exc:`WheelProblem` for a text that is no machine or Python."""
    found = [Target(machine, python) for machine in machines for python in pythons]
    for machine, python in found:
        if not MACHINE.fullmatch(machine) or not PYTHON.fullmatch(python):
            raise WheelProblem(f"{machine!r} with Python {python!r} is no kind of device. Examples: aarch64, 3.13.")
    return found


def fetch(target: Target, pip: Path, place: Path, pure: Iterable[str], tell: Callable[[str], None]) -> None:
    """Download into ``place`` what octapi needs on ``target``, except what ``pure`` names: wheels good everywhere.

    Versions are those that are installed here, where they are.  Raises :exc:`WheelProblem` with what pip says.
    """
    environment = target.environment()
    done = {"octapi", "octapi_dispy", "pip"}
    here = {normal(name) for name in pure}
    waiting = [row for row, _ in repack.requirements(metadata.distribution("octapi"), repack.EXTRAS, environment)]
    while waiting:
        level = {normal(row.name): row for row in waiting if normal(row.name) not in done}
        done |= set(level)
        wanted = [pinned(row) for name, row in level.items() if name not in here]
        if wanted:
            tell(f"Python {target.python} on {target.machine}: {', '.join(wanted)}")
            download(target, pip, place, wanted)
        waiting = [row for name in level for row in follow(name, level[name], name in here, place, environment)]


def follow(
    name: str, requirement: Requirement, is_here: bool, place: Path, environment: dict[str, str]
) -> list[Requirement]:
    """Return what a distribution needs on a target, by its installed metadata or by the wheel that was downloaded."""
    package: Any = metadata.distribution(name) if is_here else Downloaded(place, name)
    return [row for row, _ in repack.requirements(package, requirement.extras, environment)]


class Downloaded:
    """The requirements of a wheel."""

    def __init__(self, place: Path, name: str) -> None:
        path = next(path for path in sorted(place.glob("*.whl")) if distribution(path.name)[0] == name)
        with zipfile.ZipFile(path) as wheel:
            entry = next(row for row in wheel.namelist() if row.endswith(".dist-info/METADATA"))
            self.requires = Parser().parsestr(wheel.read(entry).decode()).get_all("Requires-Dist") or []


def pinned(requirement: Requirement) -> str:
    """Return a requirement of the version that is installed here; as it is where none is."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    try:
        return f"{requirement.name}{extras}=={metadata.version(requirement.name)}"
    except metadata.PackageNotFoundError:
        return f"{requirement.name}{extras}{requirement.specifier}"


def download(target: Target, pip: Path, place: Path, wanted: list[str]) -> None:
    """Let pip download.  Raises :exc:`WheelProblem` with what it says."""
    command = [sys.executable, str(pip / "pip"), "--quiet", "--disable-pip-version-check", "download", "--dest"]
    done = subprocess.run(
        [*command, str(place), *target.options(), *wanted], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise WheelProblem(
            f"pip did not get the wheels for Python {target.python} on {target.machine}. Does this computer reach the "
            f"internet, and are there wheels for it? pip says:\n{done.stderr.strip()}"
        )
