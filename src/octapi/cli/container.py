"""``octapi start`` and ``octapi health``: how a container runs, by its environment."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import time
from pathlib import Path
from typing import Annotated

import typer

from octapi.cli import service  # noqa: TC001 - typer reads the annotations when the command runs
from octapi.errors import SettingsError
from octapi.telemetry import logs
from octapi.telemetry.heartbeat import PATIENCE_S
from octapi.trust.names import NAME

log = logging.getLogger("octapi.worker")

ROLES = ("master", "worker", "agent")
#: how often a worker without a token says that it waits for one, in seconds
SAY_S = 15.0
LOOK_S = 0.5


def start(
    role: Annotated[
        str, typer.Argument(metavar="ROLE", help="master, worker or agent; OCTAPI_ROLE by default, else worker.")
    ] = "",
    log_level: service.LogLevel = None,
    log_json: service.LogJson = None,
) -> None:
    """Run as the environment says: master, worker or agent. Meant for containers."""
    role = role or os.environ.get("OCTAPI_ROLE") or "worker"
    if role not in ROLES:
        raise SettingsError(f"OCTAPI_ROLE is {role!r}; it must be one of {', '.join(ROLES)}.")
    logging_options = logs.LogOptions.load(log_level, log_json)
    logs.set_up(f"octapi {role}", logging_options)
    if role == "agent":
        from octapi.device import power

        return power.serve()
    clear(os.environ.get("TMPDIR", ""))
    return start_master(logging_options) if role == "master" else start_worker(logging_options)


def clear(scratch: str) -> None:
    """Open a volume for temporary files to all accounts, and remove what a process that was killed left there."""
    if scratch:
        Path(scratch).chmod(0o1777)
        for path in Path(scratch).glob("octapi-*"):
            shutil.rmtree(path, ignore_errors=True)


def own_name() -> str:
    """Return the name that was given: to OctaPi, or by balena to the device when it was set up; else an empty text."""
    given = os.environ.get("OCTAPI_NAME", "")
    device = os.environ.get("BALENA_DEVICE_NAME_AT_INIT", "")
    return given or (device if NAME.fullmatch(device) else "")


def start_master(logging_options: logs.LogOptions) -> None:
    """Run a master by the environment."""
    from octapi.cli import devices

    devices.master(
        name=os.environ.get("OCTAPI_NAME", ""),
        advertise=os.environ.get("OCTAPI_ADVERTISE", ""),
        share_token=Path(shared) if (shared := os.environ.get("OCTAPI_SHARE_TOKEN")) else None,
        ssh_port=integer("OCTAPI_SSH_PORT", devices.SSH_PORT),
        metrics=os.environ.get("OCTAPI_METRICS", ""),
        metrics_share=Path(place) if (place := os.environ.get("OCTAPI_METRICS_SHARE")) else None,
        log_level=logging_options.level,
        log_json=logging_options.as_json,
    )


def start_worker(logging_options: logs.LogOptions) -> None:
    """Run a worker by the environment; without a token it waits for the file that a master shares."""
    from octapi.cli import devices
    from octapi.settings import default_home
    from octapi.worker.service import FILE

    shared = os.environ.get("OCTAPI_SHARE_TOKEN")
    is_given = any(os.environ.get(name) for name in ("OCTAPI_TOKEN", "OCTAPI_TOKEN_FD"))
    is_member = (default_home() / FILE).exists()
    if shared and not is_given and not is_member:
        wait_for(Path(shared))
    if not (shared or is_given or is_member):
        raise SettingsError(
            "This worker has no token. Set OCTAPI_TOKEN to what 'octapi token create' says on the master."
        )
    devices.worker(
        token_file=Path(shared) if shared and not is_given else None,
        name=own_name(),
        slots=integer("OCTAPI_SLOTS", 0),
        advertise=os.environ.get("OCTAPI_ADVERTISE", ""),
        port=integer("OCTAPI_PORT", 0),
        ssh_port=integer("OCTAPI_SSH_PORT", devices.SSH_PORT),
        no_dask=os.environ.get("OCTAPI_NO_DASK", "") not in ("", "0"),
        metrics=os.environ.get("OCTAPI_METRICS", ""),
        node_exporter=os.environ.get("OCTAPI_NODE_EXPORTER", ""),
        log_level=logging_options.level,
        log_json=logging_options.as_json,
        leaves=is_passing(bool(shared) and not is_given, own_name(), socket.gethostname()),
    )


def is_passing(can_return: bool, name: str, host: str) -> bool:
    """Say whether a worker is one of a number of containers, as a scaled service has: no name but its container's.

    It leaves the list of devices when it is stopped, if it can return: by a token that the master shares.
    """
    return can_return and not name and re.fullmatch(r"[0-9a-f]{12}", host) is not None


def integer(name: str, default: int) -> int:
    """Return a number from the environment.  Raises :exc:`SettingsError` for anything else."""
    text = os.environ.get(name) or str(default)
    if not text.isdigit():
        raise SettingsError(f"{name} is {text!r}; it must be a number.")
    return int(text)


def wait_for(path: Path) -> None:
    """Wait until a master has shared its token, aloud."""
    said = -SAY_S
    while not path.exists():
        if time.monotonic() - said >= SAY_S:
            said = time.monotonic()
            log.warning(f"waiting for the master's token in {path}.")
        time.sleep(LOOK_S)


def health(
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds of silence after which it counts as stuck.")
    ] = PATIENCE_S,
) -> None:
    """Say whether the master or worker of this container is alive; the exit code is 1 when it is stuck."""
    from octapi.telemetry import heartbeat

    is_well, text = heartbeat.health(patience)
    print(text)
    raise typer.Exit(0 if is_well else 1)
