"""The ``octapi`` command: its groups, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from octapi._version import __version__
from octapi.cli.commands import CARE, Command
from octapi.cli.table import Octapi
from octapi.errors import OctapiError
from octapi.telemetry import logs
from octapi.text.escape import visible

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="octapi",
    cls=Octapi,
    help="Turn a pile of devices into one computer for Python.",
    epilog="Example: octapi run compute.py    'octapi' alone says how this computer stands.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


def say_version(is_wanted: bool) -> None:
    """Print the version and end."""
    if is_wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def octapi(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=say_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turn a pile of devices into one computer for Python."""
    if context.invoked_subcommand is None:
        from octapi.cli import status  # as the other commands: when it is asked for

        status.show()


@app.command(cls=Command, epilog="Example: octapi version", rich_help_panel=CARE)
def version() -> None:
    """Print the version."""
    print(__version__)


def pasted(arguments: list[str]) -> list[str]:
    """Return the arguments as they were meant where a whole line was pasted: ``octapi worker octapi worker TOKEN``."""
    if len(arguments) > 2 and arguments[0] in ("worker", "login", "doctor") and arguments[1] == "octapi":
        return [arguments[0], *arguments[3 if arguments[2] in ("worker", "login") else 2 :]]
    return arguments


def say(text: str, level: int = logging.ERROR) -> None:
    """Say what ended a command; a service logs it."""
    if logs.of_process() is None:
        lines = "\n".join(visible(line) for line in text.split("\n"))
        print(f"octapi: {lines}", file=sys.stderr)
    else:
        logging.getLogger(logs.COMMAND).log(level, text, extra=logs.LINES)


def main() -> None:
    """Run the command, and end with a message instead of a traceback."""
    sys.argv[1:] = pasted(sys.argv[1:])
    try:
        app(standalone_mode=True, prog_name="octapi")
    except OctapiError as error:
        say(str(error))
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        say("stopped.", logging.INFO)
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
