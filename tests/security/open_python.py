"""A Python that every account may enter, where the one that runs the tests lies in somebody's home.

Jobs have an account of their own where OctaPi is installed; here they have it in a virtual environment of the system's
Python of the same version, which finds the packages of this one.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

from octapi.device import accounts

#: where systems have Python
PLACES = ("/usr/bin", "/usr/local/bin")


def can_enter(path: Path) -> bool:
    """Say whether every account may pass through a directory and what lies above it."""
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents) if part.is_dir())


def make(place: Path) -> str:
    """Make one at ``place``, and return its executable; an empty text where that cannot be."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = next((path for path in (Path(room) / name for room in PLACES) if path.exists()), None)
    found = [path for path in dict.fromkeys([*map(Path, sys.path), Path.cwd()]) if is_packages(path)]
    if base is None or not accounts.is_root() or not all(map(can_enter, [base.parent, *found])):
        return ""
    done = subprocess.run([base, "-m", "venv", "--without-pip", place], capture_output=True, check=False, timeout=120)
    if done.returncode:
        return ""
    lines = "".join(f"{path}\n" for path in found)
    (place / "lib" / name / "site-packages" / "octapi-tests.pth").write_text(lines)
    return str(place / "bin" / name)


def is_packages(path: Path) -> bool:
    """Say whether a place of modules is another one than the standard library's."""
    standard = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    is_standard = any(path.is_relative_to(one) for one in standard) and "site-packages" not in path.parts
    return path.is_dir() and path.is_absolute() and not is_standard
