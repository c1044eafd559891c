"""Raspberry Pis and other ARM boards have no compiler: everything that OctaPi needs must come as a wheel."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: what 64-bit Raspberry Pi OS, Debian 13 and the images run
PYTHON = "3.13"
LIBC = ("2_17", "2_26", "2_28", "2_31", "2_34", "2_35", "2_36", "2_39", "2_41")
PLATFORMS = ["manylinux2014_aarch64", *(f"manylinux_{version}_aarch64" for version in LIBC), "linux_aarch64"]


def requirements() -> list[str]:
    """Return what is installed on a device: the dependencies, and those of the examples in the image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["examples"]]


def resolve(wanted: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Let pip resolve for that platform, without installing anything."""
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    abis = [part for name in (f"cp{PYTHON.replace('.', '')}", "abi3", "none") for part in ("--abi", name)]
    return subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"),
            *("--report", str(place / "report.json"), "--target", str(place / "target")),
            *("--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON, *platforms, *abis),
            *wanted,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def test_every_dependency_has_a_wheel_for_64_bit_arm(tmp_path: Path) -> None:
    """The index has wheels for aarch64 and Python 3.13, of all dependencies and theirs."""
    done = resolve(requirements(), tmp_path)
    if done.returncode and re.search(r"connection|Temporary failure|getaddrinfo", done.stderr, re.IGNORECASE):
        assert not os.environ.get("CI"), done.stderr
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "report.json").read_text())["install"]
    files = [row["download_info"]["url"].rpartition("/")[2] for row in found]
    assert {row["metadata"]["name"].lower() for row in found} >= {"distributed", "cryptography", "psutil", "zeroconf"}
    assert [file for file in files if not re.search(r"-any\.whl$|aarch64\.whl$", file)] == []


def test_a_dependency_without_such_a_wheel_would_be_noticed(tmp_path: Path) -> None:
    """The check above can fail: a package that exists as source only is refused."""
    done = resolve(["docopt==0.6.2"], tmp_path)
    assert done.returncode != 0
    assert "docopt" in done.stderr
