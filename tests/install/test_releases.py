"""Releases that an upgrade leaves behind."""

import subprocess
import sys
from pathlib import Path

from octapi.install import installer
from tests.harness import until


def test_an_upgrade_removes_the_releases_from_which_nothing_runs(tmp_path: Path) -> None:
    """The one in use stays, and one whose process still runs; the next upgrade removes that."""
    place = installer.Place(str(tmp_path))
    releases = [place.prefix / "releases" / name for name in ("1", "2", "3")]
    for release in releases:
        release.mkdir(parents=True)
    installer.point(place.current, releases[2])
    program = releases[0] / "wait.py"
    program.write_text("input()")
    with subprocess.Popen([sys.executable, str(program)], stdin=subprocess.PIPE) as process:
        command = Path(f"/proc/{process.pid}/cmdline")
        until(lambda: str(program).encode() in command.read_bytes())  # it is told a moment after the start
        installer.forget_old(place)
        assert sorted(path.name for path in (place.prefix / "releases").iterdir()) == ["1", "3"]
        process.communicate(b"\n")
    installer.forget_old(place)
    assert [path.name for path in (place.prefix / "releases").iterdir()] == ["3"]
