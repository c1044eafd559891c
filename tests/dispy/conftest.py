"""A cluster for scripts that use the dispy API, and a way to run them on it."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from octapi.testing import EmbeddedCluster

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(workers=2, slots=1) as found:
        yield found


@pytest.fixture
def run(embedded: EmbeddedCluster, tmp_path: Path) -> Run:
    """Run a script's text on the cluster in a directory of its own; its output is returned."""

    def run_script(text: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, str(path), *arguments],
            cwd=tmp_path,
            env=dict(os.environ, OCTAPI_ADDRESS=embedded.address),
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run_script
