"""``octapi run``."""

from __future__ import annotations

import ast
import difflib
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from octapi.cli.commands import Command
from octapi.errors import OctapiError

#: gives ``import dispy`` to scripts where the second distribution is not installed
SHIM = Path(__file__).parent.parent / "shim"
#: what python itself takes in place of a script: a module's name, or a program
INSTEAD = ("-m", "-c")
#: runs a package that its own ``__main__`` imports from; it leaves no name of its own in the script's ``__main__``
AS_PACKAGE = "__import__('sys').path[0] = {place!r}; __import__('runpy')._run_module_as_main({name!r})"


def environment(address: str = "", shows: bool = False) -> dict[str, str]:
    """Return the environment in which a script finds ``dispy`` and the cluster, and ``shows`` how far it is."""
    found = dict(os.environ)
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SHIM), found.get("PYTHONPATH"))))
    if shows:
        found["OCTAPI_SHOW"] = "1"
    if address:
        found["OCTAPI_ADDRESS"] = address
    return found


class RunCommand(Command):
    """Leaves everything from the script's name on to the script, and ``-m MODULE`` to python."""

    def parse_args(self, context: Any, args: list[str]) -> list[str]:
        """Keep python's own options from being taken for octapi's."""
        if args and args[0].startswith(INSTEAD) and not args[0].startswith("--"):
            args = ["--", *args]
        return super().parse_args(context, args)

    def collect_usage_pieces(self, context: Any) -> list[str]:
        """Return the parts of the usage line."""
        return ["SCRIPT", "[ARGS...]"]


def run(
    script: Annotated[
        list[str],
        typer.Argument(
            metavar="SCRIPT",
            help="A script, a directory or zip file with a __main__.py, '-' for stdin, or -m MODULE; its arguments.",
        ),
    ],
) -> None:
    """Run an unchanged script: it finds the cluster, and ``import dispy`` works."""
    command, env = [sys.executable, *python_arguments(script)], environment(shows=True)
    if os.name != "posix":
        raise typer.Exit(to_its_end(command, env))
    sys.stdout.flush()
    os.execve(command[0], command, env)  # signals and exit codes are the script's own


def python_arguments(words: list[str]) -> list[str]:
    """Return what python is to be given for a script and its arguments.  Raises :exc:`OctapiError` if there is none."""
    first, *rest = words
    if first == "-" or first.startswith(INSTEAD):
        if first in INSTEAD and not rest:
            raise OctapiError(f"{first} needs the name of a module, or a program: octapi run -m PACKAGE.MODULE")
        return words
    path = Path(first)
    if path.is_dir():
        return [*directory_arguments(path), *rest]
    if not path.exists():
        raise OctapiError(f"There is no script {first}.{like(path)}")
    return [first if not first.startswith("-") else f"./{first}", *rest]


def directory_arguments(path: Path) -> list[str]:
    """Return how python runs a directory; one that is a package whose ``__main__`` imports from it, as that package."""
    main = path / "__main__.py"
    if not main.is_file():
        raise OctapiError(
            f"There is no __main__.py in {path}, so nothing to run. Name a script: octapi run {path}/FILE"
        )
    where = path.resolve()
    if not (path / "__init__.py").is_file() or not imports_from_itself(main):
        return [str(path)]
    return ["-c", AS_PACKAGE.format(place=str(where.parent), name=where.name)]


def imports_from_itself(main: Path) -> bool:
    """Say whether a file has relative imports, with which python runs it as a part of its package only."""
    try:
        tree = ast.parse(main.read_bytes())
    except (SyntaxError, ValueError):  # python itself says better what is wrong
        return False
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def like(path: Path) -> str:
    """Return a question about a file of nearly the same name here, or of the same one directory below; or nothing."""
    try:
        entries = sorted(path.parent.iterdir())
        below = [entry / path.name for entry in entries if (entry / path.name).is_file()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, [entry.name for entry in entries], 1, 0.75)
    found = [path.parent / name for name in close] or below[:1]
    return f" Did you mean {found[0]}?" if found else ""


def run_script(command: list[str], env: dict[str, str]) -> int:
    """Run a script to its end and return its exit code."""
    return to_its_end([sys.executable, *python_arguments(command)], env)


def to_its_end(command: list[str], env: dict[str, str]) -> int:
    """Run a program to its end and return its exit code; Ctrl-C is the program's own affair."""
    with subprocess.Popen(command, env=env) as process:
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:  # the program has it too, and ends in its own way
                continue
    return code if code >= 0 else 128 - code
