"""Programs as people write them hold on this computer's cores and on a secured cluster."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from octapi.testing import EmbeddedCluster
from tests.harness import clean_environment

HERE = Path(__file__).parent
PROGRAMS = sorted(path for path in HERE.glob("*.py") if path.stem not in ("__init__", "test_programs"))
#: what may break a cluster for others
ROUGH = {"dask_tasks_that_end_their_process", "limits_that_are_no_number", "wrong_options"}
#: what starts Dask or a cluster itself, also on this computer's cores
STARTS = {"lost_master", "dask_features", "dask_tasks_that_end_their_process", "dask_without_naming_a_client"}
#: what is about this computer only
LOCAL = {"library_on_the_path_by_hand", "lost_master"}
SECONDS = 200


def shown(path: Path) -> str:
    """Return the name of a program's test."""
    return path.stem


def run(path: Path, address: str, place: Path) -> None:
    """Run a program in a fresh directory and home, and check that it holds to its end."""
    home = place / "home"
    work = place / "work"
    home.mkdir()
    work.mkdir()
    own = {"HOME": str(home), "OCTAPI_HOME": str(home / ".octapi"), "OCTAPI_ADDRESS": address, "OCTAPI_SLOTS": "2"}
    done = subprocess.run(
        [sys.executable, str(path)], cwd=work, env=clean_environment() | own, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    assert done.stdout.split()[-1:] == ["holds"], f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(workers=2, slots=2) as found:
        yield found


@pytest.mark.parametrize("path", [path for path in PROGRAMS if path.stem not in STARTS], ids=shown)
def test_on_the_cores_of_this_computer(path: Path, tmp_path: Path) -> None:
    """Two slots, and nothing else running."""
    run(path, "local", tmp_path)


@pytest.mark.services
@pytest.mark.parametrize("path", [path for path in PROGRAMS if path.stem in STARTS], ids=shown)
def test_with_what_the_program_starts(path: Path, tmp_path: Path) -> None:
    """Dask's processes, or a master of the program's own."""
    run(path, "local", tmp_path)


@pytest.mark.parametrize("path", [path for path in PROGRAMS if path.stem not in ROUGH | LOCAL], ids=shown)
def test_on_a_cluster(path: Path, embedded: EmbeddedCluster, tmp_path: Path) -> None:
    """A master and two workers, one set for all programs."""
    run(path, embedded.address, tmp_path)
    assert [process.poll() for process in embedded.processes] == [None] * 3, "a process of the cluster has ended"


@pytest.mark.parametrize("path", [path for path in PROGRAMS if path.stem in ROUGH], ids=shown)
def test_on_a_cluster_of_its_own(path: Path, tmp_path: Path) -> None:
    """What could end workers runs where nobody else would notice."""
    with EmbeddedCluster(workers=2, slots=2) as own:
        run(path, own.address, tmp_path)
        assert [process.poll() for process in own.processes] == [None] * 3, "a process of the cluster has ended"
