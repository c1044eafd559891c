"""Random programs give on clusters what they give in plain forks."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from octapi.testing import EmbeddedCluster

PROGRAMS = Path(__file__).with_name("programs.py")


@pytest.mark.parametrize("seed", [20261125, random.randrange(10**6)], ids=["the same", "another"])
def test_random_programs_give_what_they_give_in_forks(seed: int, tmp_path: Path) -> None:
    """Functions of many kinds, state that changes between calls, errors, prints and callbacks; here and on workers."""
    with EmbeddedCluster(workers=2, slots=1) as embedded:
        command = [sys.executable, str(PROGRAMS), str(seed), "150", "local", embedded.address]
        done = subprocess.run(
            command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=230
        )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert f"seed {seed}" in done.stdout
