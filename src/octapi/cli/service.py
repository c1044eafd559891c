"""``--install-service`` and ``--remove-service`` of ``octapi master`` and ``octapi worker``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from octapi.errors import ServiceProblem
from octapi.install import systemd, systemd_units
from octapi.settings import default_home
from octapi.trust import ssh

if TYPE_CHECKING:
    from collections.abc import Sequence

Install = Annotated[bool, typer.Option("--install-service", help="Let systemd run it, now and at every start.")]
Remove = Annotated[bool, typer.Option("--remove-service", help="Stop the service and remove it.")]
LogLevel = Annotated[
    str | None, typer.Option(metavar="LEVEL", help="From which level on it logs: debug, info, warning or error.")
]
LogJson = Annotated[bool | None, typer.Option("--log-json", help="Log one line of JSON for each record.")]

#: what is not for the service: the token, and what makes the service
ONCE: Final = ("token", "token_file", "insecure", "install_service", "remove_service")


def check(role: str, *, insecure: bool) -> None:
    """Raise :exc:`ServiceProblem` unless a service can be installed, before anything is changed."""
    if insecure:
        raise ServiceProblem("--insecure is for experiments; it is no service that starts with the device.")
    systemd.check(role)


def options(given: Any) -> list[tuple[str, object, object]]:
    """Return ``(option, value, default)`` of what a service starts with, by the dataclass of a command's options.

    The token is not among them: the device has joined when the service is made.
    """
    rows = [row for row in dataclasses.fields(given) if row.name not in ONCE]
    return [(f"--{row.name.replace('_', '-')}", getattr(given, row.name), row.default) for row in rows]


def install(role: str, given: Sequence[tuple[str, object, object]], home: Path, ssh_port: int = 0) -> None:
    """Install a service with these options, and say how to look at it; it may write where they name a path."""
    if role == "master":
        ssh.include(home)  # the service itself cannot write there
    given = [
        (option, value.absolute() if isinstance(value, Path) else value, default) for option, value, default in given
    ]
    paths = [value for _, value, _ in given if isinstance(value, Path)]
    places = [path if path.is_dir() else path.parent for path in paths]
    names = systemd.install(role, systemd_units.arguments(given), (home.absolute(), *places), ssh_port)
    print(f"octapi {role}: {' and '.join(names)} started, and at every start of this device.")
    print(f"octapi {role}: 'journalctl -u octapi-{role} -f' shows what it says; --remove-service removes it.")


def remove(role: str) -> None:
    """Remove a service, and say what stays."""
    names = systemd.remove(role)
    print(f"octapi {role}: {' and '.join(names)} removed. The identity in {default_home()} stays.")
