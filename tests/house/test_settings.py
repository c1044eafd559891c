"""Settings, documentation and the environment's variables: each variable has one meaning, one reader and a sentence."""

import ast
import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from octapi.errors import SettingsError
from octapi.settings import HOME, STATE, ContainerSettings, Internal, Settings, without_own
from tests.harness import Yard

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "octapi"
#: runs on devices that have no OctaPi yet, so it can import nothing of it
ALONE = {SOURCES / "install" / "installer.py"}
#: of compose files, which are read by Docker
COMPOSE = {
    *("OCTAPI_CLUSTER", "OCTAPI_IMAGE", "OCTAPI_MEMORY", "OCTAPI_PAGE_BIND", "OCTAPI_PIDS", "OCTAPI_SHM_SIZE"),
    "OCTAPI_TMP_SIZE",
}
#: of the scripts that test and build
SCRIPTS = {
    *("OCTAPI_CACHE", "OCTAPI_LOWEST_VENV", "OCTAPI_REAL_DISPY", "OCTAPI_TEST_PROCESSES", "OCTAPI_TEST_SKIPPED"),
    *("OCTAPI_TEST_TIMES", "OCTAPI_TEST_VENV", "OCTAPI_BENCH_BEFORE", "OCTAPI_UBUNTU_MIRROR"),
}
NAME = re.compile(r"OCTAPI_[A-Z_]*[A-Z](?![A-Z_])")


def fields(of: type) -> set[str]:
    """Return the variables of a class of settings."""
    assert dataclasses.is_dataclass(of)
    return {f"OCTAPI_{field.name.upper()}" for field in dataclasses.fields(of)}


PUBLIC = fields(Settings) | fields(ContainerSettings) | {HOME, STATE}
INTERNAL = {value for name, value in vars(Internal).items() if name.isupper()}


def named_in(*folders: str) -> dict[str, str]:
    """Return each variable that files of the repository name, and one of the files."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    texts = {name: (ROOT / name).read_text(errors="replace") for name in listed if (ROOT / name).is_file()}
    assert texts
    return {found: name for name, text in texts.items() for found in NAME.findall(text)}


def test_every_variable_that_is_named_anywhere_is_a_setting_or_internal() -> None:
    known = PUBLIC | INTERNAL | COMPOSE | SCRIPTS
    unknown = {name: where for name, where in named_in("src", "docs", "deploy", "scripts").items() if name not in known}
    assert not unknown


def test_every_list_of_variables_is_in_use() -> None:
    named = set(named_in("src", "docs", "deploy", "scripts", "tests"))
    assert {*INTERNAL, *COMPOSE, *SCRIPTS} <= named
    assert not INTERNAL & PUBLIC


def test_every_setting_is_documented_and_no_internal_variable_is() -> None:
    documented = set(named_in("docs"))
    assert documented >= PUBLIC, PUBLIC - documented
    assert not INTERNAL & documented
    table = (ROOT / "docs/reference/command-line.md").read_text()
    missing = [field.name for field in dataclasses.fields(Settings) if f"`{field.name}`" not in table]
    assert not missing


def test_settings_is_the_only_reader_of_our_variables() -> None:
    """Others may write them into the environment of a process that they start, and name them in messages."""
    wrong = []
    for path in {*SOURCES.rglob("*.py")} - {SOURCES / "settings.py", *ALONE}:
        for node in ast.walk(ast.parse(path.read_text())):
            reads = isinstance(node, (ast.Subscript, ast.Call, ast.Compare)) and "environ" in ast.unparse(node)
            if reads and any(
                isinstance(part, ast.Constant) and NAME.fullmatch(str(part.value)) for part in ast.walk(node)
            ):
                wrong.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong


def test_a_container_is_what_its_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NAME", "red"), ("PORT", "8789"), ("NO_DASK", "1"), ("ROLE", "")):
        monkeypatch.setenv(f"OCTAPI_{name}", value)
    found = ContainerSettings.load()
    assert (found.name, found.port, found.ssh_port, found.no_dask, found.role) == ("red", 8789, 8722, True, "worker")
    monkeypatch.setenv("OCTAPI_NO_DASK", "0")
    assert not ContainerSettings.load().no_dask
    monkeypatch.setenv("OCTAPI_PORT", "tcp://10.0.0.1:8786")
    with pytest.raises(SettingsError, match=r"OCTAPI_PORT is 'tcp://10.0.0.1:8786'; it must be a number"):
        ContainerSettings.load()


def test_processes_for_jobs_inherit_no_secrets_of_the_worker() -> None:
    given = {"PATH": "/bin", "OCTAPI_TOKEN": "x", Internal.SLOT_HOME: "/tmp/x"}
    assert without_own(given) == {"PATH": "/bin"}
    assert without_own(given, but_slots=True) == {"PATH": "/bin", Internal.SLOT_HOME: "/tmp/x"}


def test_a_worker_honours_the_variable_for_slots(yard: Yard) -> None:
    """The option is stronger, as everywhere."""
    master = yard.start("plain", "master", "--insecure", "--port", "0", "--dask-port", "0")
    clients, workers = re.findall(r"(?:clients|workers) at ([0-9.:]+)", master.until_says("workers at"))
    env = {"OCTAPI_SLOTS": "3"}
    yard.start("red", "worker", workers, "--insecure", "--name", "red", env=env).until_says("joined")
    yard.start("blue", "worker", workers, "--insecure", "--name", "blue", "--slots", "1", env=env).until_says("joined")
    code = "import octapi\nwith octapi.Cluster() as c:\n    print(sorted((w.name, w.slots) for w in c.workers()))"
    said = yard.run("laptop", code, env={"OCTAPI_INSECURE": "1", "OCTAPI_ADDRESS": clients})
    assert said.splitlines()[-1] == "[('blue', 1), ('red', 3)]"
