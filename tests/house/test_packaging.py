"""What is built and shipped."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(place), "-t", "sdist", "-t", "wheel"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return place


def test_the_wheel_holds_the_package_the_page_and_the_demo(built: Path) -> None:
    """And what says that it has types; nothing else: no tests, no benchmarks."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()

    assert {
        "octapi/examples/compute.py",
        "octapi/dispy/monitor.html",
        "octapi/shim/dispy/__init__.py",
        "octapi/page/static/app.js",
        "octapi/py.typed",
    } <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"octapi"}


def test_the_sdist_holds_all_that_is_needed_to_build_and_test(built: Path) -> None:
    """Source, tests, docs, examples, benchmarks, scripts and the second distribution."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}

    wanted = {
        "src",
        "tests",
        "docs",
        "examples",
        "benchmarks",
        "scripts",
        "compat",
        "README.md",
        "LICENSE",
        "pyproject.toml",
    }
    assert wanted <= tops


def test_a_slot_imports_nothing_heavy() -> None:
    """It must live on a board with 512 MB: no Dask, no numpy, no rich, no typer."""
    code = "import sys, octapi.pool.forkserver, octapi.pool.slot; print(sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    for name in ("dask", "distributed", "tornado", "numpy", "rich", "typer", "asyncio"):
        assert f"'{name}'" not in done.stdout


def test_a_worker_never_imports_the_page() -> None:
    """Neither the page nor what it is built on, also where the extra is installed."""
    code = "import sys, octapi.worker.connection, octapi.worker.service; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    for name in ("octapi.page", "starlette", "uvicorn", "segno", "websockets", "bokeh"):
        assert f"'{name}'" not in done.stdout


def test_the_page_is_part_of_a_plain_installation() -> None:
    """And the name of the extra that it was is still good, so that old lines work."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[^A-Za-z0-9_-]", row)[0] for row in project["dependencies"]}
    assert {"starlette", "uvicorn", "segno"} <= names
    assert project["optional-dependencies"]["page"] == []


def test_a_script_never_imports_the_page() -> None:
    """Neither one on a cluster nor one on this computer's cores."""
    code = "import sys, octapi, octapi.client.connect, octapi.client.remote; octapi.Cluster; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    for name in ("octapi.page", "starlette", "uvicorn", "segno"):
        assert f"'{name}'" not in done.stdout


def test_nothing_tells_people_to_install_from_an_index_what_is_not_there() -> None:
    """OctaPi is not in the package index: every line that installs it names the checkout or the master."""
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]:
        assert not re.search(r"pip install '?octapi", path.read_text()), path
