"""``octapi worker``."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
from pathlib import Path
from typing import Annotated, Any

import typer

from octapi.cli import secret, service
from octapi.cli.insecure import Insecure, MetricsDoor, refuse_metrics, tell, warn_insecure
from octapi.cli.lazy import taking
from octapi.device.limits import cores
from octapi.errors import InsecureRefused, NotAMember, OctapiError
from octapi.settings import ContainerSettings, Settings, default_home
from octapi.telemetry import logs
from octapi.text.reasons import in_words
from octapi.trust import identity as identities
from octapi.trust.token import parse
from octapi.worker import connection
from octapi.worker.addresses import Addresses
from octapi.worker.respawn import is_again, work_again
from octapi.worker.resumable_agent import ResumableAgent
from octapi.worker.service import FILE, JOIN_FIRST, Options, Service, join, must_join

log = logging.getLogger("octapi.worker")

SSH_PORT = ContainerSettings.ssh_port


@dataclasses.dataclass(frozen=True)
class WorkerOptions:
    """The options of ``octapi worker``."""

    token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="The token, '-' for stdin; with --insecure the master's host:port.")
    ] = ""
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File that holds the token.")] = None
    slots: Annotated[int | None, typer.Option(metavar="N", help="Jobs at once; 0 means one for each core.")] = None
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of this worker; the host name by default.")] = ""
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address of this device for its peers.")] = ""
    port: Annotated[int, typer.Option(metavar="PORT", help="Port for other workers; 0 for a free one.")] = 0
    advertise: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address that others reach it at, with the same port.")
    ] = ""
    ssh_port: Annotated[int, typer.Option(metavar="PORT", help="Port of OctaPi's own sshd; 0 for none.")] = SSH_PORT
    no_dask: Annotated[bool, typer.Option("--no-dask", help="Run OctaPi's jobs only, no Dask tasks.")] = False
    metrics: MetricsDoor = ""
    node_exporter: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            envvar="OCTAPI_NODE_EXPORTER",
            help="HOST:PORT of a node_exporter, served through --metrics.",
        ),
    ] = ""
    log_level: service.LogLevel = None
    log_json: service.LogJson = None
    insecure: Insecure = False
    install_service: service.Install = False
    remove_service: service.Remove = False
    leaves: Annotated[bool, typer.Option("--leaves", hidden=True)] = False  # see "octapi start"


def run(given: WorkerOptions) -> None:
    """Run a worker: this device's cores join the cluster. A device that has joined needs no token again."""
    if given.remove_service:
        return service.remove("worker")
    logs.set_up("octapi worker", logs.LogOptions.load(given.log_level, given.log_json))
    if given.install_service:
        service.check("worker", insecure=given.insecure)
    slots = Settings.load(slots=given.slots).slots or cores()
    if given.insecure:
        refuse_metrics(given.metrics)
        warn_insecure("worker.json")
        return run_insecure(given.token, given.name, slots, given.host)
    home = default_home()
    has_identity = (home / FILE).exists()
    text = "" if has_identity and is_again() else secret.take(given.token, given.token_file, ask=not has_identity)
    old = identities.load(home / FILE)
    options = Options(
        given.name,
        slots,
        given.host or None,
        given.ssh_port,
        given.port,
        given.advertise,
        not given.no_dask,
        given.metrics,
        given.node_exporter,
        given.leaves,
    )
    if not given.install_service:
        return run_worker(home, text, old, options)
    become_member(home, text, old, options)
    return service.install("worker", service.options(given), home, given.ssh_port)


command = taking(WorkerOptions, run)


def become_member(home: Path, text: str, old: Any, options: Options) -> str:
    """Join if that is needed, and return this device's name.  Raises :exc:`TrustError` and :exc:`MasterNotFound`."""
    if old is None and not text:
        raise NotAMember(JOIN_FIRST)
    name = options.name or (old.name if old is not None else socket.gethostname().partition(".")[0])
    if text and must_join(old, parse(text), options.name):
        try:
            join(home, text, name)
        except OctapiError as error:
            if old is None:
                raise
            log.warning(f"could not join with the token, and goes on as {old.name} of {old.cluster!r}: {error}")
    return name


def run_worker(home: Path, text: str, old: Any, options: Options) -> None:
    """Join if that is needed, and work; a device that was removed joins anew if it has a token."""
    name = become_member(home, text, old, options)

    def work() -> None:
        try:
            asyncio.run(Service(home, options).run())
        except NotAMember:
            if not text:
                raise
            join(home, text, name)
            asyncio.run(Service(home, options).run())

    work_again(work)


def run_insecure(address: str, name: str, slots: int, host: str) -> None:
    """Run a worker without encryption."""
    if not address:
        raise InsecureRefused("Give the master's host:port: octapi worker HOST:8788 --insecure")
    if address.startswith("octapi1."):
        raise InsecureRefused("That is a token, and --insecure uses none. Leave --insecure out.")

    def ready(found: str) -> None:
        tell(f"joined {address} from {found}", log)

    async def work() -> None:
        resumable = ResumableAgent(slots, name or socket.gethostname())
        await connection.serve_again(address.removeprefix("tcp://"), resumable, Addresses(host or None), ready)

    def work_on() -> None:
        try:
            asyncio.run(work())
        except (OSError, RuntimeError) as error:
            raise OctapiError(
                f"The worker could not work for {address}: {in_words(error)}. Does a master listen there, and "
                "was it started with --insecure?"
            ) from error

    work_again(work_on)
