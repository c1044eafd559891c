"""What programs say of the source: code that nothing uses, and the form of the page's files."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.dead_code import NOT_DEAD

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "octapi"
STATIC = SOURCE / "page" / "static"
WIDEST = 120


def unused() -> set[tuple[str, str]]:
    """Return the file and the name of all that vulture finds no reader of."""
    done = subprocess.run(
        [sys.executable, "-m", "vulture", str(SOURCE)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 3, done.stdout + done.stderr  # it has found something
    rows = re.findall(r"^(\S+):\d+: \w+ \w+ '(\w+)'", done.stdout, re.MULTILINE)
    return {(str((ROOT / path).relative_to(SOURCE)), name) for path, name in rows}


def test_nothing_is_defined_that_nobody_uses() -> None:
    """What only others use is listed with the reason, and nothing else is on the list."""
    pytest.importorskip("vulture", reason="vulture is not here; the extra 'test' brings it")
    listed = {(file, name) for file, _, names in NOT_DEAD for name in names.split()}
    found = unused()
    assert sorted(found - listed) == [], "Remove these, or give the reason why they stay in tests/house/dead_code.py."
    assert sorted(listed - found) == [], "Something uses these now, or they are gone; take them off the list."


def test_lines_of_the_page_fit_a_screen() -> None:
    texts = {path.name: path.read_text() for path in STATIC.iterdir() if path.suffix in (".js", ".css", ".html")}
    assert {"app.js", "style.css", "index.html"} <= texts.keys()
    long = [
        f"{name}:{number}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > WIDEST
    ]
    assert long == []


@pytest.mark.parametrize("command", [("fmt", "--check"), ("lint",)], ids=["form", "faults"])
def test_scripts_and_styles_of_the_page_have_one_form_and_no_faults(command: tuple[str, ...], tmp_path: Path) -> None:
    """``deno fmt`` mends the form; the settings are in deno.json."""
    deno = shutil.which("deno", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    if deno is None:
        pytest.skip("deno is not here; the extra 'test' brings it for the usual processors")
    env = os.environ | {"DENO_DIR": str(tmp_path), "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    done = subprocess.run([deno, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Checked 1" in done.stdout + done.stderr, "it has looked at no file"
