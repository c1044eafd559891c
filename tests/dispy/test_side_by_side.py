"""The same scripts under OctaPi and under the real dispy 4.15.2 print the same.

Optional, because real dispy needs Python 3.11 and an environment of its own: OCTAPI_REAL_DISPY names its
Python, for which ``pip install dispy==4.15.2 psutil`` was run.
"""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import until

from octapi.testing import EmbeddedCluster

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))
REAL = os.environ.get("OCTAPI_REAL_DISPY", "")
#: gives back what Python 3.11 took away and dispy 4.15.2 needs, and OPTIONS, which the scripts pass on
SITE = """
    import builtins, inspect, types
    def getargspec(function):
        found = inspect.getfullargspec(function)
        return types.SimpleNamespace(
            args=found.args, varargs=found.varargs, keywords=found.varkw, defaults=found.defaults)
    if not hasattr(inspect, "getargspec"):
        inspect.getargspec = getargspec
    builtins.OPTIONS = {options}
"""


def run(python: str, script: Path, place: Path, options: str, **env: str) -> list[str]:
    place.mkdir()
    (place / "sitecustomize.py").write_text(textwrap.dedent(SITE.format(options=options)))
    path = place / script.name
    path.write_text(script.read_text())
    found = dict(os.environ, PYTHONPATH=str(place), **env)
    done = subprocess.run(
        [python, str(path)], cwd=place, capture_output=True, text=True, check=False, timeout=60, env=found
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[None]:
    """A real dispynode on loopback."""
    place = tmp_path / "node"
    place.mkdir()
    (place / "sitecustomize.py").write_text(textwrap.dedent(SITE.format(options="{}")))
    program = Path(REAL).parent / "dispynode.py"
    command = [REAL, str(program), "-c", "2", "-i", "127.0.0.1", "--daemon", "--clean"]
    command += ["--dest_path_prefix", str(place / "dispy")]
    env = dict(os.environ, PYTHONPATH=str(place))
    log = (place / "log.txt").open("w+")
    quiet = subprocess.DEVNULL
    with (
        log,
        subprocess.Popen(command, stdout=log, stderr=log, stdin=quiet, env=env, start_new_session=True) as process,
    ):
        until(lambda: "serving" in (place / "log.txt").read_text())
        yield
        os.killpg(process.pid, signal.SIGKILL)  # it forks, and asked kindly it may wait for ever


@pytest.mark.skipif(not REAL, reason="OCTAPI_REAL_DISPY is not set")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_prints_the_same_under_both(script: Path, tmp_path: Path, node: None) -> None:
    """Results, states, events and their order."""
    theirs = run(REAL, script, tmp_path / "theirs", "{'nodes': ['127.0.0.1'], 'host': '127.0.0.1'}")
    with EmbeddedCluster(workers=1, slots=2) as embedded:
        ours = run(
            sys.executable, script, tmp_path / "ours", "{'nodes': ['127.0.0.1']}", OCTAPI_ADDRESS=embedded.address
        )

    assert ours == theirs


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_each_of_the_scripts_runs_under_octapi(script: Path, tmp_path: Path) -> None:
    """Also where the real dispy is not at hand."""
    with EmbeddedCluster(workers=1, slots=2) as embedded:
        lines = run(
            sys.executable, script, tmp_path / "ours", "{'nodes': ['127.0.0.1']}", OCTAPI_ADDRESS=embedded.address
        )

    assert lines
