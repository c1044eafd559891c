"""Dask clusters that OctaPi did not start, and that grow, shrink, retire and lose workers under a script."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("script", ["processes", "threads", "grows", "shrinks", "retires", "is_killed"])
def test_a_script_goes_on_while_its_dask_cluster_changes(script: str, tmp_path: Path) -> None:
    """See :mod:`tests.links.changing` for what each does and asserts."""
    command = [sys.executable, "-m", "tests.links.changing", script, str(tmp_path)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False, timeout=200)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("as it should be\n")
