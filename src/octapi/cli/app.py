"""The ``octapi`` command: its groups, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import sys

import typer

from octapi._version import __version__
from octapi.cli import container, devices, doctor, drain, fleet, jobs, page, recover, runs, scripts, trust, wheels
from octapi.errors import OctapiError

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="octapi",
    help="Turn a pile of devices into one computer for Python.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(scripts.demo)
app.command("run", cls=scripts.RunCommand, context_settings={"allow_interspersed_args": False})(scripts.run)
app.command("master")(devices.master)
app.command("worker")(devices.worker)
app.add_typer(devices.nodes_app, name="nodes")
devices.nodes_app.command("run", context_settings={"allow_interspersed_args": False})(fleet.run)
devices.nodes_app.command("copy")(fleet.copy)
devices.nodes_app.command("reboot")(fleet.reboot)
devices.nodes_app.command("shutdown")(fleet.shutdown)
devices.nodes_app.command("drain")(drain.drain)
devices.nodes_app.command("resume")(drain.resume)
app.command("device", hidden=True)(fleet.device)
app.command("start")(container.start)
app.command("health")(container.health)
app.command("login")(trust.login)
app.add_typer(trust.token_app, name="token")
app.add_typer(trust.identity_app, name="identity")
app.add_typer(wheels.app, name="wheels")
app.command("ssh", context_settings={"allow_interspersed_args": False})(trust.ssh)
app.command("doctor")(doctor.doctor)
app.command("page")(page.page)
app.add_typer(jobs.jobs_app, name="jobs")
jobs.jobs_app.command("recover")(recover.recover)
app.command("submit", context_settings={"allow_extra_args": True, "allow_interspersed_args": False})(runs.submit)
app.command("runs")(runs.runs)
app.command("logs")(runs.logs)
app.command("stop")(runs.stop)
app.command("bench")(jobs.bench)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    """Run the command, and end with a message instead of a traceback."""
    try:
        app(standalone_mode=True)
    except OctapiError as error:
        print(f"octapi: {error}", file=sys.stderr)
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        print("octapi: stopped.", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
