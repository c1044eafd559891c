"""``octapi master``."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from octapi.cli import secret, service
from octapi.cli.insecure import Insecure, MetricsDoor, refuse_metrics, tell, warn_insecure
from octapi.cli.lazy import taking
from octapi.errors import OctapiError
from octapi.master.supervisor.metrics_access import MetricsAccess
from octapi.master.supervisor.page_process import wish_of
from octapi.master.supervisor.supervisor import MasterSupervisor
from octapi.settings import default_home
from octapi.telemetry import logs
from octapi.text.reasons import in_words
from octapi.text.units import seconds_of
from octapi.trust import ssh
from octapi.trust import token as tokens
from octapi.trust.authority_file import open_authority, write_beside

CLIENT_PORT, DASK_PORT, JOIN_PORT = 8786, 8788, 8785


@dataclasses.dataclass(frozen=True)
class MasterOptions:
    """The options of ``octapi master``."""

    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the cluster, at its first start; the host name by default.")
    ] = ""
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; all by default, 127.0.0.1 with --insecure.")
    ] = ""
    port: Annotated[int, typer.Option(metavar="PORT", help="Port for clients; 0 takes a free one.")] = CLIENT_PORT
    dask_port: Annotated[
        int, typer.Option(metavar="PORT", help="Port for workers and Dask clients; 0 takes a free one.")
    ] = DASK_PORT
    join_port: Annotated[int, typer.Option(metavar="PORT", help="Port where devices join; 0 takes a free one.")] = (
        JOIN_PORT
    )
    advertise: Annotated[
        str, typer.Option(metavar="ADDRESSES", help="Addresses for tokens, with commas; found by default.")
    ] = ""
    share_token: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File, in a volume that workers share, that always holds a valid token."),
    ] = None
    ssh_port: Annotated[int, typer.Option(metavar="PORT", help="Port of an sshd for your own keys; 0 for none.")] = 0
    certificate_life: Annotated[str, typer.Option(metavar="TIME", help="Life of certificates, such as 30d or 12h.")] = (
        ""
    )
    metrics: MetricsDoor = ""
    metrics_share: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Directory that holds the token and certificate for a Prometheus."),
    ] = None
    page: Annotated[bool | None, typer.Option("--page/--no-page", help="Show the page; it is an extra.")] = None
    page_port: Annotated[int | None, typer.Option(metavar="PORT", help="Port of the page; 0 takes a free one.")] = None
    page_listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Its address; the master's, 127.0.0.1 with a proxy.")
    ] = None
    page_proxy: Annotated[
        bool | None, typer.Option("--page-proxy", help="A reverse proxy in front of the page speaks HTTPS.")
    ] = None
    page_proxy_from: Annotated[
        str | None, typer.Option(metavar="ADDRESSES", help="Addresses of such proxies elsewhere, with commas.")
    ] = None
    page_names: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Further host names of the page, with commas.")
    ] = None
    dask_dashboard: Annotated[
        bool | None, typer.Option("--dask-dashboard", help="Dask's own dashboard too, behind the page's login.")
    ] = None
    log_level: service.LogLevel = None
    log_json: service.LogJson = None
    insecure: Insecure = False
    install_service: service.Install = False
    remove_service: service.Remove = False


def run(given: MasterOptions) -> None:
    """Run the master of a cluster."""
    if given.remove_service:
        return service.remove("master")
    logs.set_up("octapi master", logs.LogOptions.load(given.log_level, given.log_json))
    if given.install_service:
        service.check("master", insecure=given.insecure)
    if given.insecure:
        refuse_metrics(given.metrics)
        warn_insecure("authority/authority.json")
        return run_insecure(given.listen or "127.0.0.1", given.port, given.dask_port)
    home = default_home()
    life_s = seconds_of(given.certificate_life) if given.certificate_life else None
    authority, is_new = open_authority(home, given.name, life_s)
    if given.install_service:
        return service.install("master", service.options(given), home, given.ssh_port)
    watched = MetricsAccess(home, given.metrics, given.metrics_share)
    supervisor = MasterSupervisor(
        home,
        authority,
        given.listen or "0.0.0.0",
        (given.join_port, given.port, given.dask_port),
        given.advertise,
        given.ssh_port,
        watched,
        wish_of(dataclasses.asdict(given)),
    )
    return run_keeper(supervisor, is_new, given.share_token)


command = taking(MasterOptions, run)


def run_keeper(supervisor: MasterSupervisor, is_new: bool, share_token: Path | None) -> None:
    """Run a secured master to its end.  Raises :exc:`OctapiError` when it cannot listen."""

    def ready(found: MasterSupervisor) -> None:
        print_ready(found, is_new)
        if share_token is not None:
            share(found, share_token)
        changed = ssh.include(supervisor.home)
        if changed:
            tell(f"'ssh NODE' works here; added one Include line to {changed}.")

    try:
        asyncio.run(supervisor.run(ready))
    except OSError as error:
        raise OctapiError(
            f"The master cannot listen: {in_words(error)}. Is another one running? --port 0 takes free ports."
        ) from error


NO_ADDRESS = (
    "this master is in a container on a bridge. Workers, logins and scripts in this container and "
    "beside it need nothing more. For other computers, publish ports 8785, 8786 and 8788 and give the address of the "
    "computer around it: octapi master --advertise ADDRESS (or OCTAPI_ADVERTISE)."
)


#: the life of a token that lives until it is revoked, in seconds
SHARED_LIFE_S = 10 * 365 * 86400.0


def print_ready(supervisor: MasterSupervisor, is_new: bool) -> None:
    """Say that the master runs, and at the first start how devices join."""
    cluster = supervisor.authority.state.cluster
    where = f"joins at {supervisor.join_port}, clients at {supervisor.port}, workers at {supervisor.dask_port}"
    hosts = supervisor.hosts()
    tell(f"cluster {cluster}, {where} on {', '.join(hosts) or 'this computer'}")
    if not hosts:
        tell(NO_ADDRESS)
    if supervisor.metrics.port() is not None:
        tell(f"metrics at port {supervisor.metrics.port()}, for 'octapi token metrics'")
    if supervisor.page_process.port:
        print_page(supervisor)
    if is_new and secret.shows():
        token = supervisor.authority.new_token("worker", supervisor.addresses(), 86400.0)
        print("\nOn each device that is to be a worker, within 24 hours:\n")
        print(f"  octapi worker {token.text()}\n", flush=True)
        print("A device that has only Python: octapi token create --install prints the line that brings OctaPi too.")
        print("For a person's computer: octapi token create --role client", flush=True)
    else:
        tell(
            "'octapi token create' on this device prints the line with which devices join, "
            "with --install the one for devices without OctaPi."
        )


def print_page(supervisor: MasterSupervisor) -> None:
    """Print the page's link on a terminal, and otherwise where to get it: it holds a secret."""
    if secret.shows():
        found = supervisor.page_process.new_link()
        print(f"\nThe page, for 24 hours (again with 'octapi page'):\n\n  {found['link']}\n", flush=True)
        if found["fingerprint"]:
            print(f"  Its certificate's SHA-256, for the browser's warning: {found['fingerprint']}\n", flush=True)
        if found["here"]:
            print(f"  In a browser on this computer, without a warning:\n\n  {found['here']}\n", flush=True)
    else:
        tell(f"page at port {supervisor.page_process.port}; 'octapi page' prints the link.")


def share(supervisor: MasterSupervisor, path: Path) -> None:
    """Keep a token for workers in a file that only root can read; it lives until it is revoked."""
    ledger, now = supervisor.authority.ledger, supervisor.authority.now()
    if path.exists():
        row = ledger.tokens.get(tokens.parse(path.read_text(encoding="utf-8")).ident)
        if row is not None and row.state(now) == "valid":
            row.is_shared = True
            return
        path.unlink()
    made = supervisor.authority.new_token("worker", supervisor.addresses(), SHARED_LIFE_S)
    ledger.tokens[made.ident].is_shared = True
    supervisor.authority.save()
    write_beside(path, made.text() + "\n")
    tell(f"shares token {made.ident} with the workers of this computer in {path}.")


def run_insecure(listen: str, port: int, dask_port: int) -> None:
    """Run a master without encryption."""
    from octapi.master import insecure as alone  # it imports what the process with the authority's key must not

    def ready(found: int, dask_found: int) -> None:
        tell(f"clients at {listen}:{found}, workers at {listen}:{dask_found}")

    asyncio.run(alone.serve(listen, port, dask_port, ready))
