"""The ``octapi`` command: its groups, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octapi._version import __version__
from octapi.cli import container, devices, doctor, drain, fleet, jobs, page, recover, runs, scripts, trust, wheels
from octapi.cli.commands import CARE, CLUSTER, MOST, RUNS, USE, Command, Group
from octapi.errors import OctapiError
from octapi.telemetry import logs
from octapi.text.escape import visible

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130
#: options that belong to a script or a command of somebody else, from its name on
FOREIGN = {"allow_interspersed_args": False}

app = typer.Typer(
    name="octapi",
    cls=Group,
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
        from octapi.cli import status

        status.show()


def add(
    group: typer.Typer, name: str, function: Callable[..., Any], example: str, panel: str | None = None, **options: Any
) -> None:
    """Give a group a command, with one example."""
    options.setdefault("cls", Command)
    group.command(name, epilog=f"Example: {example}", rich_help_panel=panel, **options)(function)


def add_group(name: str, group: typer.Typer, example: str, panel: str) -> None:
    """Give ``octapi`` a group of commands."""
    app.add_typer(group, name=name, cls=Group, epilog=f"Example: {example}", rich_help_panel=panel)


add(app, "demo", scripts.demo, "octapi demo", MOST)
add(app, "run", scripts.run, "octapi run compute.py 100", MOST, cls=scripts.RunCommand, context_settings=FOREIGN)
add(app, "master", devices.master, "octapi master --name attic", MOST)
add(app, "worker", devices.worker, "octapi worker octapi1.AbC...", MOST)
add_group("nodes", devices.nodes_app, "octapi nodes --watch", MOST)
add_group("jobs", jobs.jobs_app, "octapi jobs --stop 3", MOST)
add(app, "login", trust.login, "octapi login octapi1.AbC...", USE)
add(app, "page", page.page, "octapi page --view --life 7d", USE)
add(app, "bench", jobs.bench, "octapi bench --address local", USE)
add(
    app,
    "submit",
    runs.submit,
    "octapi submit --file data.csv compute.py 100",
    RUNS,
    context_settings=FOREIGN | {"allow_extra_args": True},
)
add(app, "runs", runs.runs, "octapi runs -n 5", RUNS)
add(app, "logs", runs.logs, "octapi logs -f k3x9", RUNS)
add(app, "stop", runs.stop, "octapi stop k3x9", RUNS)
add_group("token", trust.token_app, "octapi token create --role client --once", CLUSTER)
add_group("identity", trust.identity_app, "octapi identity backup /media/stick/octapi.backup", CLUSTER)
add_group("wheels", wheels.app, "octapi wheels fetch --machine armv7l", CLUSTER)
add(app, "ssh", trust.ssh, "octapi ssh pi-1 uptime", CLUSTER, context_settings=FOREIGN)
add(app, "doctor", doctor.doctor, "octapi doctor", CARE)
add(app, "start", container.start, "octapi start worker", CARE)
add(app, "health", container.health, "octapi health", CARE)
add(app, "device", fleet.device, "octapi device reboot", hidden=True)

add(devices.nodes_app, "remove", devices.remove, "octapi nodes remove pi-3")
add(devices.nodes_app, "drain", drain.drain, "octapi nodes drain pi-3 --wait")
add(devices.nodes_app, "resume", drain.resume, "octapi nodes resume pi-3")
add(devices.nodes_app, "run", fleet.run, "octapi nodes run --on pi-1,pi-2 -- df -h", context_settings=FOREIGN)
add(devices.nodes_app, "copy", fleet.copy, "octapi nodes copy data.csv /tmp/")
add(devices.nodes_app, "reboot", fleet.reboot, "octapi nodes reboot --on pi-3")
add(devices.nodes_app, "shutdown", fleet.shutdown, "octapi nodes shutdown")
add(jobs.jobs_app, "recover", recover.recover, "octapi jobs recover k3x9 --file results.pickle")
add(trust.token_app, "create", trust.create, "octapi token create --life 1h --once")
add(trust.token_app, "list", trust.list_tokens, "octapi token list")
add(trust.token_app, "revoke", trust.revoke, "octapi token revoke abc234")
add(trust.token_app, "metrics", trust.metrics, "octapi token metrics --file /etc/prometheus/octapi.token")
add(trust.identity_app, "backup", trust.backup, "octapi identity backup /media/stick/octapi.backup")
add(trust.identity_app, "restore", trust.restore, "octapi identity restore /media/stick/octapi.backup")
add(trust.identity_app, "rotate", trust.rotate, "octapi identity rotate")
add(wheels.app, "pack", wheels.pack, "octapi wheels pack")
add(wheels.app, "fetch", wheels.fetch, "octapi wheels fetch --machine aarch64 --python 3.13")
add(wheels.app, "list", wheels.show, "octapi wheels list")


def version() -> None:
    """Print the version."""
    print(__version__)


add(app, "version", version, "octapi version", CARE)


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
