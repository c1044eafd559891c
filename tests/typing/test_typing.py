"""What type checkers know of the package: good calls pass, each bad one is found on its line."""

import dataclasses
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import octapi
from octapi.client.calls import MapArguments
from octapi.options import OptionArguments, Options

HERE = Path(__file__).parent
MARK = re.compile(r"# error: (\S+) / (\S+)$")


#: a user's strict settings; what Dask is made of is of no interest here, and large
STRICT = "[mypy]\nstrict = true\n[mypy-distributed.*,dask.*,tornado.*]\nfollow_imports = skip\n"


def mypy(place: Path) -> set[tuple[str, int, str]]:
    """Return the file, line and name of each error that mypy finds."""
    (place / "mypy.ini").write_text(STRICT)
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--no-error-summary", "--no-pretty"]
    command += [str(HERE / "good.py"), str(HERE / "bad.py")]
    done = subprocess.run(command, cwd=place, env=environment(), capture_output=True, text=True, check=False)
    found = re.findall(r"^(.+?):(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    assert len(found) == done.stdout.count(": error: "), done.stdout + done.stderr
    return {(Path(file).name, int(line), name) for file, line, name in found}


def environment() -> dict[str, str]:
    """Let mypy find the package where this Python does, also where that is a source tree beside the environment."""
    place = Path(octapi.__file__).parent.parent
    return {**os.environ} if place.name == "site-packages" else {**os.environ, "MYPYPATH": str(place)}


def pyright(place: Path) -> set[tuple[str, int, str]]:
    """Return the same of pyright, in its standard mode."""
    pytest.importorskip("basedpyright", reason="basedpyright is not here; the extra 'test' brings it with its node")
    settings = {"include": [str(HERE)], "typeCheckingMode": "standard", "pythonVersion": "3.11"}
    (place / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(place)]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = [one for one in found if one["severity"] == "error"]
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["rule"]) for one in errors}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("checker", "which"), [(mypy, 0), (pyright, 1)], ids=["mypy", "pyright"])
def test_good_calls_have_their_types_and_each_bad_one_is_found(
    checker: Callable[[Path], set[tuple[str, int, str]]], which: int, tmp_path: Path
) -> None:
    """Where bad.py is marked, and nowhere else."""
    lines = (HERE / "bad.py").read_text().splitlines()
    marked = {("bad.py", at, found.groups()[which]) for at, line in enumerate(lines, 1) if (found := MARK.search(line))}
    assert len(marked) > 25

    errors = checker(tmp_path)

    assert marked - errors == set()
    places = {(file, line) for file, line, _ in marked}
    assert {error for error in errors if error[:2] not in places} == set()


def test_what_type_checkers_know_of_options_is_what_there_is() -> None:
    """Options, and the names by which they are given."""
    assert list(OptionArguments.__annotations__) == [field.name for field in dataclasses.fields(Options) if field.init]


def test_what_type_checkers_know_of_map_is_what_it_takes() -> None:
    """The arguments of map by name, those for type checkers and those that are there."""
    taken = inspect.signature(octapi.Cluster.map).parameters.values()
    assert list(MapArguments.__annotations__) == [one.name for one in taken if one.kind is one.KEYWORD_ONLY]
