"""``octapi start`` and ``octapi health``: how a container runs, by its environment.

A master and a worker are imported when they are wanted: on a small board neither has room for the other.
"""

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

from octapi.cli import service
from octapi.device import power
from octapi.errors import SettingsError
from octapi.protocol.specs import NAME
from octapi.settings import ContainerSettings, Internal, default_home, internal
from octapi.telemetry import heartbeat, logs
from octapi.telemetry.heartbeat import PATIENCE_S
from octapi.text.back_off import BackOff

log = logging.getLogger("octapi.worker")

ROLES = ("master", "worker", "agent")
LOOK_S = 0.5


def start(
    role: Annotated[
        str, typer.Argument(metavar="ROLE", help="master, worker or agent; OCTAPI_ROLE by default, else worker.")
    ] = "",
    log_level: service.LogLevel = None,
    log_json: service.LogJson = None,
) -> None:
    """Run as the environment says: master, worker or agent. Meant for containers."""
    given = ContainerSettings.load()
    role = role or given.role
    if role not in ROLES:
        raise SettingsError(f"OCTAPI_ROLE is {role!r}; it must be one of {', '.join(ROLES)}.")
    logging_options = logs.LogOptions.load(log_level, log_json)
    logs.set_up(f"octapi {role}", logging_options)
    if role == "agent":
        return power.serve()
    clear(os.environ.get("TMPDIR", ""))
    return start_master(given, logging_options) if role == "master" else start_worker(given, logging_options)


def clear(scratch: str) -> None:
    """Open a volume for temporary files to all accounts, and remove what a process that was killed left there."""
    if scratch:
        Path(scratch).chmod(0o1777)
        for path in Path(scratch).glob("octapi-*"):
            shutil.rmtree(path, ignore_errors=True)


def own_name(given: str) -> str:
    """Return the name that was given: to OctaPi, or by balena to the device when it was set up; else an empty text."""
    device = os.environ.get("BALENA_DEVICE_NAME_AT_INIT", "")
    return given or (device if NAME.fullmatch(device) else "")


def start_master(given: ContainerSettings, logging_options: logs.LogOptions) -> None:
    """Run a master by the environment."""
    from octapi.cli import master

    options = master.MasterOptions(
        name=given.name,
        advertise=given.advertise,
        share_token=Path(given.share_token) if given.share_token else None,
        ssh_port=given.ssh_port,
        metrics=given.metrics,
        metrics_share=Path(given.metrics_share) if given.metrics_share else None,
        log_level=logging_options.level,
        log_json=logging_options.as_json,
    )
    master.run(options)


def start_worker(given: ContainerSettings, logging_options: logs.LogOptions) -> None:
    """Run a worker by the environment; without a token it waits for the file that a master shares."""
    from octapi.cli import worker
    from octapi.worker.service import FILE

    shared = Path(given.share_token) if given.share_token else None
    has_token = bool(given.token or internal(Internal.TOKEN_FD))
    is_member = (default_home() / FILE).exists()
    if shared and not has_token and not is_member:
        wait_for(shared)
    if not (shared or has_token or is_member):
        raise SettingsError(
            "This worker has no token. Set OCTAPI_TOKEN to what 'octapi token create' says on the master."
        )
    name = own_name(given.name)
    options = worker.WorkerOptions(
        token_file=shared if not has_token else None,
        name=name,
        advertise=given.advertise,
        port=given.port,
        ssh_port=given.ssh_port,
        no_dask=given.no_dask,
        metrics=given.metrics,
        node_exporter=given.node_exporter,
        leaves=is_passing(shared is not None and not has_token, name, socket.gethostname()),
        log_level=logging_options.level,
        log_json=logging_options.as_json,
    )
    worker.run(options)


def is_passing(can_return: bool, name: str, host: str) -> bool:
    """Say whether a worker is one of a number of containers, as a scaled service has: no name but its container's.

    It leaves the list of devices when it is stopped, if it can return: by a token that the master shares.
    """
    return can_return and not name and re.fullmatch(r"[0-9a-f]{12}", host) is not None


def wait_for(path: Path) -> None:
    """Wait until a master has shared its token, aloud."""
    again = BackOff()
    while not path.exists():
        if again.is_due("", time.monotonic()):
            log.warning(f"waiting for the master's token in {path}.")
        time.sleep(LOOK_S)


def health(
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds of silence after which it counts as stuck.")
    ] = PATIENCE_S,
) -> None:
    """Say whether the master or worker of this container is alive; the exit code is 1 when it is stuck."""
    is_well, text = heartbeat.health(patience)
    print(text)
    raise typer.Exit(0 if is_well else 1)
