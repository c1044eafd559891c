"""Every snippet and command of README and docs is run, page by page, in order."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Page:
    """Runs the blocks of one page in a directory of its own."""

    def __init__(self, place: Path, home: Path) -> None:
        self.place = place
        self.env = {key: value for key, value in os.environ.items() if key != "OCTAPI_ADDRESS"}
        self.env.update(OCTAPI_HOME=str(home), PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        self.background: list[subprocess.Popen[str]] = []

    def python(self, info: str, text: str) -> None:
        name = dict(part.split("=") for part in shlex.split(info)).get("file", "snippet.py")
        (self.place / name).write_text(text)
        self.run([sys.executable, name], text)

    def sh(self, info: str, text: str) -> None:
        for line in text.strip().splitlines():
            if "background" in info:
                self.start(line)
            else:
                self.run(["bash", "-c", line], line)

    def run(self, command: list[str], what: str) -> None:
        done = subprocess.run(
            command, cwd=self.place, env=self.env, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0, f"{what}\n{done.stdout}{done.stderr}"

    def start(self, line: str) -> None:
        with (self.place / "said").open("w+") as said:
            process = subprocess.Popen(
                shlex.split(line), cwd=self.place, env=self.env, stdout=subprocess.PIPE, stderr=said, text=True
            )
            self.background.append(process)
            assert process.stdout is not None
            assert process.stdout.readline(), f"{line} ended before it was ready: {(self.place / 'said').read_text()}"

    def close(self) -> None:
        for process in reversed(self.background):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_does_what_it_says(path: Path, tmp_path: Path) -> None:
    """Its Python runs, its commands succeed, its links lead somewhere."""
    shutil.copytree(ROOT / "examples", tmp_path / "page/examples")  # a reader is where README begins
    home = tmp_path / "home"
    home.mkdir()
    page = Page(tmp_path / "page", home)
    text = path.read_text()
    try:
        for kind, info, block in FENCE.findall(text):
            if kind in ("python", "sh"):
                getattr(page, kind)(info.strip().replace("background", "") if kind == "python" else info, block)
    finally:
        page.close()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("http") or (path.parent / link).exists(), link


def test_the_pages_are_there() -> None:
    """Tutorial, how-to, reference and explanation."""
    assert {path.parent.name for path in PAGES} >= {"tutorial", "how-to", "reference", "explanation"}
