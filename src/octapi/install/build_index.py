"""Fills the shelf: with what is installed here, and with what other kinds of devices need."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from octapi import _version
from octapi.install import repack, wheel_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.metadata import Distribution

    from octapi.install.wheel_download import Target

STAMP = "packed.sha256"


def fingerprint(packages: Iterable[Distribution]) -> str:
    """Return a hash that changes when one of the installed distributions changes."""
    digest = hashlib.sha256(b"1")
    for package in packages:
        digest.update((package.read_text("RECORD") or package.version).encode())
    return digest.hexdigest()


def pack(place: Path) -> list[str]:
    """Put on the shelf what is installed here, unless it lies there; return what had to go as it is outdated.

    Raises :exc:`WheelProblem`.
    """
    packages = repack.needed()
    stamp, mark = place / STAMP, fingerprint(packages.values())
    if wheel_index.read(place) and stamp.exists() and stamp.read_text() == mark:
        return []
    wheel_index.make(place)
    with tempfile.TemporaryDirectory(dir=place) as work:
        for package in packages.values():
            repack.pack(package, Path(work))
        repack.pack_dispy(Path(work))
        repack.find_pip(Path(work))
        gone = wheel_index.put(place, Path(work), _version.__version__)
    stamp.write_text(mark)
    return gone


def fetch(place: Path, targets: Iterable[Target], tell: Callable[[str], None]) -> None:
    """Put on the shelf what these kinds of devices need.  Raises :exc:`WheelProblem`."""
    from octapi.install import wheel_download

    pack(place)
    pip = next(place.glob("pip-*.whl"))
    pure = [
        wheel_index.distribution(wheel.name)[0]
        for wheel in wheel_index.read(place)
        if wheel.name.endswith("-none-any.whl")
    ]
    with tempfile.TemporaryDirectory(dir=place) as work:
        for target in targets:
            wheel_download.fetch(target, pip, Path(work), pure, tell)
        wheel_index.put(place, Path(work), _version.__version__)
