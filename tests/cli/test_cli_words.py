"""What the command line says: help, the reference, wrong words, tables, and what strangers named."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import octapi
from octapi.cli import commands, status, tables
from octapi.cli.app import app, pasted
from octapi.cli.container import is_passing
from octapi.cli.lazy import LazyCommand
from octapi.errors import TokenRefused
from octapi.text.reasons import in_words
from octapi.trust.token import Token, parse
from tests.harness import Yard
from tests.terminal import Seen

OCTAPI = [sys.executable, "-m", "octapi"]
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"


def command(*arguments: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "200", **options.pop("env", {})}
    done = subprocess.run(
        [*OCTAPI, *arguments], capture_output=True, text=True, check=False, timeout=60, env=env, **options
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def every(group: Any = None, path: str = "octapi") -> Iterator[tuple[str, Any]]:
    """Return every command that is shown, with its whole name."""
    group = group or typer.main.get_command(app)
    yield path, group
    for name, found in getattr(group, "commands", {}).items():
        if not found.hidden:
            yield from every(found.load() if isinstance(found, LazyCommand) else found, f"{path} {name}")


# ---- help and reference


def test_the_reference_lists_every_option_of_every_command() -> None:
    """What ``--help`` shows stands in the line of that command, and nothing else does."""
    rows = [row for row in REFERENCE.read_text().splitlines() if row.startswith("| `octapi")]
    documented = {}
    for row in rows:
        line = row.split("` |")[0].removeprefix("| `")
        name = " ".join(re.match(r"octapi(?: [a-z]+(?![\w=]))*", line).group().split())  # type: ignore[union-attr]
        documented[name] = {word for word in re.findall(r"--?[a-z][a-z-]*", line) if word not in ("-m", "-c")}
    shown = {}
    for name, found in every():
        options = [p for p in found.params if p.param_type_name == "option" and not p.hidden]
        shown[name] = {word for option in options for word in (*option.opts, *option.secondary_opts)}
        shown[name].discard("--help")
    for name in ("octapi token", "octapi identity", "octapi wheels"):  # they only hold others
        assert shown.pop(name) == set()
    assert documented == shown


def test_every_help_has_an_example_of_that_command_and_plain_words() -> None:
    """One line that can be typed; no names of types."""
    for name, found in every():
        assert found.epilog.startswith(f"Example: {name}"), name
        for param in found.params:
            is_flag = getattr(param, "is_flag", False) or (param.param_type_name == "argument" and not param.metavar)
            assert is_flag or param.metavar or param.name.endswith("completion"), (name, param.name)


def test_help_has_panels_with_the_six_commonest_commands_first() -> None:
    """By what people do."""
    text = command("--help").stdout
    places = [text.index(f"─ {panel} ─") for panel in commands.PANELS]
    assert places == sorted(places)
    first = text[: places[1]]
    assert re.findall(r"│ (\w+) ", first) == ["demo", "run", "master", "worker", "nodes", "jobs"]
    text = command("logs", "--help").stdout
    assert "Usage: octapi logs [OPTIONS] RUN\n" in text
    assert "Example: octapi logs -f" in text


def test_lists_of_commands_say_what_the_commands_say_of_themselves() -> None:
    """The lists are written before a command's module is imported, from a table."""
    shown = {name: found for name, found in every() if "commands" in vars(found)}
    assert len(shown) > 5
    for path, group in shown.items():
        for name, found in group.commands.items():
            if isinstance(found, LazyCommand):
                assert commands.short(found) == commands.short(found.load()), f"{path} {name}"


def test_help_and_completion_import_no_command() -> None:
    """Only the command that is asked for."""
    code = (
        "import sys\nfrom octapi.cli import app\n"
        "try:\n    app.main()\nexcept SystemExit:\n    pass\nprint(*sys.modules)"
    )
    complete = {"_OCTAPI_COMPLETE": "complete_bash", "COMP_WORDS": "octapi ", "COMP_CWORD": "1"}
    for words, env in ((["--help"], {}), ([], complete), (["logs", "--help"], {})):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, env=os.environ | env
        )
        assert "master" in done.stdout
        loaded = {name for name in done.stdout.splitlines()[-1].split() if name.startswith("octapi.cli.")}
        usual = {"octapi.cli.app", "octapi.cli.commands", "octapi.cli.lazy", "octapi.cli.table"}
        assert loaded <= usual if words != ["logs", "--help"] else "octapi.cli.runs" in loaded
        assert "octapi.cli.master" not in loaded


def test_the_version_is_told_in_three_ways() -> None:
    """As the habits of other programs are."""
    for words in (["--version"], ["version"]):
        assert command(*words).stdout == octapi.__version__ + "\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stauts"], "octapi --help"),
        (["node"], "octapi worker"),
        (["nodse"], "octapi nodes"),
        (["status"], "Did you mean 'octapi'?"),
        (["ps"], "octapi jobs"),
        (["compute.py", "3"], "octapi run compute.py"),
        (["nodes", "dorp"], "'octapi nodes --help'"),
        (["nodes", "remvoe", "x"], "octapi nodes remove"),
        (["\x1b[31m[/bold]"], "\\x1b[31m[/bold]"),
    ],
)
def test_a_wrong_command_is_answered_with_the_right_one(words: list[str], said: str) -> None:
    """Exit code 2, and nothing that acts on a terminal."""
    text = command(*words, code=2).stderr
    assert said in text
    assert "\x1b" not in text


def test_a_token_in_the_place_of_a_command_is_not_repeated() -> None:
    """It is a secret."""
    text = command("octapi1.aaa.bbb.ccc", code=2).stderr
    assert "octapi worker TOKEN" in text
    assert "bbb" not in text


def test_a_whole_line_that_was_pasted_is_understood() -> None:
    """``octapi worker TOKEN`` where the token was wanted, quoted or not."""
    token = Token(b"p" * 32, "abcdef", b"s" * 16, ("10.0.0.1:8785",))
    for line in (token.text(), f"octapi worker {token.text()}", f"  sudo octapi login '{token.text()}' \n"):
        assert parse(line) == token
    with pytest.raises(TokenRefused, match="incomplete"):
        parse(f"octapi worker {token.text()[:-4]}")
    assert pasted(["worker", "octapi", "worker", "T", "--name", "x"]) == ["worker", "T", "--name", "x"]
    assert pasted(["login", "octapi", "login", "T"]) == ["login", "T"]
    assert pasted(["run", "octapi", "worker", "T"]) == ["run", "octapi", "worker", "T"]


def test_errors_of_the_system_are_told_in_words() -> None:
    """No numbers, and never an empty reason."""
    refused = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9)")
    assert in_words(refused) == "nothing listens there, or a firewall refuses it"
    assert in_words(OSError("Multiple exceptions: [Errno 111] a, [Errno 111] b")) == in_words(refused)
    assert in_words(TimeoutError()) == "no answer"
    empty = RuntimeError()
    assert in_words(empty) == "RuntimeError"
    empty.__cause__ = TimeoutError()
    assert in_words(empty) == "no answer"
    assert in_words(FileNotFoundError(2, "No such file", "/x/y")) == "there is no such file (/x/y)"
    told = command("nodes", "--address", "127.0.0.1:9", code=1, env={"OCTAPI_PATIENCE_S": "0.2"}).stderr
    assert "Errno" not in told
    assert "nothing listens there" in told


# ---- tables


def test_tables_have_tabs_without_a_terminal_and_a_head(capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts; strangers' text cannot make another row or cell."""
    tables.show(("Run", "Script"), [("1", "a\tb\nc\x1b[2J"), (2, "[/bold]")])
    assert capsys.readouterr().out == "Run\tScript\n1\ta\\tb\\nc\\x1b[2J\n2\t[/bold]\n"


def test_ids_are_whole_in_windows_of_any_width() -> None:
    """Whoever needs the last letters of a run sees them."""
    code = (
        "from octapi.cli import tables\n"
        "row = ('261125-083318-9cv', '[red]compute.py ' * 5, 'somebody', 'failed, exit code 1: ' + 'x' * 60, '1,000')\n"
        "tables.show(('Run', 'Script', 'User', 'State', 'Done'), [row], whole=('Run',))\n"
    )
    for columns in (60, 80, 200):
        seen = Seen([sys.executable, "-c", code], lines=40, columns=columns, stdout="pty", stderr="pty")
        assert sum("261125-083318-9cv" in line for line in seen.lines) == 1
        assert "[red]comp" in "".join(seen.lines)


# ---- how a computer stands


def test_octapi_alone_says_what_this_computer_is_and_what_to_do_next(yard: Yard) -> None:
    """A newcomer's computer, a master with and without workers, a worker, and a master that is off."""
    alone = command(env={"OCTAPI_HOME": str(yard.home("nobody"))}).stdout
    assert "in no cluster" in alone
    assert "octapi demo" in alone
    master = yard.master()
    assert "answers: 0 workers, 0 slots" in (said := yard.command("master"))
    assert "octapi token create" in said
    yard.worker("red", yard.token())
    assert "answers: 1 worker" in (said := yard.command("master"))
    assert "octapi run SCRIPT" in said
    assert "the worker red of the cluster" in (said := yard.command("red"))
    assert "is at work" in said
    assert "knows this worker" in said
    master.stop()
    assert "The master does not answer" in (said := yard.command("master"))
    assert "octapi master" in said


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ("/opt/octapi/current/bin/python /usr/local/bin/octapi worker -", "worker"),
        ("/usr/local/bin/octapi master --name school", "master"),
        ("python3 -m http.server", ""),
        ("vi octapi", ""),
        ("less /home/pi/octapi/worker", ""),
    ],
)
def test_a_master_or_worker_of_another_account_is_known_by_its_command(line: str, role: str) -> None:
    """As the service and a terminal start it; so that nobody reads that this computer is in no cluster."""
    assert status.role_of(line.split()) == role


# ---- octapi run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a package, a directory that can be run, an archive and a script that tell how they were started."""
    tell = "import sys\nprint(sys.argv[1:], __name__, sys.path[1 - (sys.path[0] != '')] is not None, {more})\n"
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "util.py").write_text("NAME = 'util'\n")
    (package / "tool.py").write_text("from .util import NAME\n" + tell.format(more="NAME, __package__, __spec__.name"))
    (package / "__main__.py").write_text("from .util import NAME\n" + tell.format(more="NAME, __package__"))
    plain = tmp_path / "plain"
    plain.mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/below.py").write_text("")
    (plain / "beside.py").write_text("NAME = 'beside'\n")
    (plain / "__main__.py").write_text("import beside\n" + tell.format(more="beside.NAME"))
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.write(plain / "__main__.py", "__main__.py")
        archive.write(plain / "beside.py", "beside.py")
    (tmp_path / "script.py").write_text(tell.format(more="__file__, sys.path[0]"))
    return tmp_path


def test_run_starts_what_python_starts(place: Path) -> None:
    """A module, a directory, an archive, stdin, a program; options behind it are its own, also ``--help``."""
    words = ["--help", "-m", "x", "--", "-f"]
    for start in (["-m", "pkg.tool"], ["plain"], ["app.pyz"], ["script.py"], ["-c", "import sys; print(sys.argv)"]):
        plain = subprocess.run([sys.executable, *start, *words], cwd=place, capture_output=True, text=True, check=True)
        ours = command("run", *start, *words, cwd=place)
        assert ours.stdout == plain.stdout
        assert repr(words)[1:-1] in ours.stdout
    assert "util pkg" in command("run", "pkg", *words, cwd=place).stdout
    assert command("run", "-", "a", cwd=place, input="import sys; print(sys.argv)").stdout == "['-', 'a']\n"
    elsewhere = command("run", str(place / "script.py"), cwd="/").stdout
    assert str(place / "script.py") in elsewhere
    assert f"'{place}'" in elsewhere or str(place) in elsewhere.split()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scrpit.py"], "Did you mean script.py?"),
        (["below.py"], "There is no script below.py. Did you mean deep/below.py?"),
        (["nothing"], "There is no script nothing."),
        (["-m"], "octapi run -m PACKAGE.MODULE"),
        (["."], "There is no __main__.py in ."),
    ],
)
def test_run_says_what_is_missing(place: Path, words: list[str], said: str) -> None:
    """One line, exit code 1."""
    assert said in command("run", *words, code=1, cwd=place).stderr


def test_run_ends_as_its_script_does(place: Path) -> None:
    """Exit codes, signals, and the script is the process that was started."""
    (place / "ends.py").write_text("import os, signal, sys\nos.kill(os.getpid(), signal.SIGTERM)\n")
    assert subprocess.run([*OCTAPI, "run", "ends.py"], cwd=place, check=False).returncode == -15


# ---- tokens


def test_doctor_says_whether_a_token_is_good_and_is_no_stranger(yard: Yard) -> None:
    """Good, revoked; nobody is counted as refused for having looked."""
    master = yard.master()
    token = yard.token()
    assert "lets a worker in" in yard.command("other", "doctor", token)
    yard.command("master", "token", "revoke", parse(token).ident)
    said = yard.command("other", "doctor", token, code=1)
    assert "is revoked: it lets nobody in" in said
    assert "octapi token create" in said
    yard.command("master", "doctor")
    assert not [line for line in master.said if "refused" in line]


@pytest.mark.parametrize(
    ("can_return", "name", "host", "expected"),
    [
        (True, "", "0123456789ab", True),
        (True, "red", "0123456789ab", False),
        (True, "", "red", False),
        (True, "", "0123456789abc", False),
        (False, "", "0123456789ab", False),
    ],
)
def test_a_container_without_a_name_leaves_the_list_if_it_can_return(
    can_return: bool, name: str, host: str, expected: bool
) -> None:
    """One that has a name, or whose token was given to it alone, is a device as any other."""
    assert is_passing(can_return, name, host) is expected
