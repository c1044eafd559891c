"""``octapi master``, ``octapi worker`` and ``octapi nodes``."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octapi.cli import secret, service, tables
from octapi.errors import IdentityProblem, InsecureRefused, NotAMember, OctapiError
from octapi.protocol.client_messages import Nodes
from octapi.telemetry import logs
from octapi.text.escape import visible
from octapi.text.reasons import in_words
from octapi.text.units import days, seconds_of

if TYPE_CHECKING:
    from octapi.master.supervisor.supervisor import MasterSupervisor
    from octapi.worker.service import Options

WARNING = "--insecure: no encryption and no login. Anyone who reaches this port can run code here."
Insecure = Annotated[bool, typer.Option("--insecure", help="No encryption, no login (experiments, trusted networks).")]
MetricsDoor = Annotated[
    str,
    typer.Option(
        "--metrics", metavar="HOST:PORT", envvar="OCTAPI_METRICS", help="HOST:PORT where Prometheus may read metrics."
    ),
]
MASTER, WORKER = logging.getLogger("octapi.master"), logging.getLogger("octapi.worker")
CLIENT_PORT, DASK_PORT, JOIN_PORT, SSH_PORT = 8786, 8788, 8785, 8722

nodes_app = typer.Typer(help="Show who is in the cluster, or remove a device.", invoke_without_command=True)


def warn_insecure(identity: str) -> None:
    """Say loudly what ``--insecure`` means; a device that is a member of a secured cluster refuses it.

    Raises :exc:`IdentityProblem` when the file ``identity`` exists.
    """
    from octapi.settings import default_home

    if (default_home() / identity).exists():
        raise IdentityProblem(
            f"This device has an identity of a secured cluster ({default_home() / identity}), which --insecure would "
            "leave aside. Start without --insecure, or use another OCTAPI_HOME."
        )
    logging.getLogger(logs.COMMAND).warning(WARNING)


def refuse_metrics(metrics: str) -> None:
    """Raise :exc:`InsecureRefused` if metrics are wanted where there are no certificates to serve them with."""
    if metrics:
        raise InsecureRefused(
            "Metrics are served with the cluster's certificates, and --insecure has none. Leave --metrics (or "
            "OCTAPI_METRICS) or --insecure out."
        )


# ---- master


def master(
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the cluster, at its first start; the host name by default.")
    ] = "",
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; all by default, 127.0.0.1 with --insecure.")
    ] = "",
    port: Annotated[int, typer.Option(metavar="PORT", help="Port for clients; 0 takes a free one.")] = CLIENT_PORT,
    dask_port: Annotated[
        int, typer.Option(metavar="PORT", help="Port for workers and Dask clients; 0 takes a free one.")
    ] = DASK_PORT,
    join_port: Annotated[
        int, typer.Option(metavar="PORT", help="Port where devices join; 0 takes a free one.")
    ] = JOIN_PORT,
    advertise: Annotated[
        str, typer.Option(metavar="ADDRESSES", help="Addresses for tokens, with commas; found by default.")
    ] = "",
    share_token: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File, in a volume that workers share, that always holds a valid token."),
    ] = None,
    ssh_port: Annotated[int, typer.Option(metavar="PORT", help="Port of an sshd for your own keys; 0 for none.")] = 0,
    certificate_life: Annotated[
        str, typer.Option(metavar="TIME", help="Life of certificates, such as 30d or 12h.")
    ] = "",
    metrics: MetricsDoor = "",
    metrics_share: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Directory that holds the token and certificate for a Prometheus."),
    ] = None,
    page: Annotated[bool | None, typer.Option("--page/--no-page", help="Show the page; it is an extra.")] = None,
    page_port: Annotated[int | None, typer.Option(metavar="PORT", help="Port of the page; 0 takes a free one.")] = None,
    page_listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Its address; the master's, 127.0.0.1 with a proxy.")
    ] = None,
    page_proxy: Annotated[
        bool | None, typer.Option("--page-proxy", help="A reverse proxy in front of the page speaks HTTPS.")
    ] = None,
    page_proxy_from: Annotated[
        str | None, typer.Option(metavar="ADDRESSES", help="Addresses of such proxies elsewhere, with commas.")
    ] = None,
    page_names: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Further host names of the page, with commas.")
    ] = None,
    dask_dashboard: Annotated[
        bool | None, typer.Option("--dask-dashboard", help="Dask's own dashboard too, behind the page's login.")
    ] = None,
    log_level: service.LogLevel = None,
    log_json: service.LogJson = None,
    insecure: Insecure = False,
    install_service: service.Install = False,
    remove_service: service.Remove = False,
) -> None:
    """Run the master of a cluster."""
    given = locals()
    if remove_service:
        return service.remove("master")
    logs.set_up("octapi master", logs.LogOptions.load(log_level, log_json))
    if install_service:
        service.check("master", insecure=insecure)
    if insecure:
        refuse_metrics(metrics)
        warn_insecure("authority/authority.json")
        return run_insecure_master(listen or "127.0.0.1", port, dask_port)
    from octapi.master.supervisor.metrics_access import MetricsAccess
    from octapi.master.supervisor.page_process import wish_of
    from octapi.master.supervisor.supervisor import MasterSupervisor
    from octapi.settings import default_home
    from octapi.trust.authority_file import open_authority

    home = default_home()
    life_s = seconds_of(certificate_life) if certificate_life else None
    authority, is_new = open_authority(home, name, life_s)
    if install_service:
        return service.install("master", service.options(master, given), home, ssh_port)
    watched = MetricsAccess(home, metrics, metrics_share)
    page_config = wish_of(given)
    ports = (join_port, port, dask_port)
    keeper = MasterSupervisor(home, authority, listen or "0.0.0.0", ports, advertise, ssh_port, watched, page_config)
    return run_keeper(keeper, is_new, share_token)


def run_keeper(keeper: MasterSupervisor, is_new: bool, share_token: Path | None) -> None:
    """Run a secured master to its end.  Raises :exc:`OctapiError` when it cannot listen."""
    import asyncio

    from octapi.trust import ssh

    def ready(found: MasterSupervisor) -> None:
        print_ready(found, is_new)
        if share_token is not None:
            share(found, share_token)
        changed = ssh.include(keeper.home)
        if changed:
            tell(f"'ssh NODE' works here; added one Include line to {changed}.")

    try:
        asyncio.run(keeper.run(ready))
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


def tell(text: str, log: logging.Logger = MASTER) -> None:
    """Tell the person who started a service how it stands."""
    log.info(text, extra=logs.ON_STDOUT)


def print_ready(keeper: MasterSupervisor, is_new: bool) -> None:
    """Say that the master runs, and at the first start how devices join."""
    cluster = keeper.authority.state.cluster
    where = f"joins at {keeper.join_port}, clients at {keeper.port}, workers at {keeper.dask_port}"
    hosts = keeper.hosts()
    tell(f"cluster {cluster}, {where} on {', '.join(hosts) or 'this computer'}")
    if not hosts:
        tell(NO_ADDRESS)
    if keeper.metrics.port() is not None:
        tell(f"metrics at port {keeper.metrics.port()}, for 'octapi token metrics'")
    if keeper.page_process.port:
        print_page(keeper)
    if is_new and secret.shows():
        token = keeper.authority.new_token("worker", keeper.addresses(), 86400.0)
        print("\nOn each device that is to be a worker, within 24 hours:\n")
        print(f"  octapi worker {token.text()}\n", flush=True)
        print("A device that has only Python: octapi token create --install prints the line that brings OctaPi too.")
        print("For a person's computer: octapi token create --role client", flush=True)
    else:
        tell(
            "'octapi token create' on this device prints the line with which devices join, "
            "with --install the one for devices without OctaPi."
        )


def print_page(keeper: MasterSupervisor) -> None:
    """Print the page's link on a terminal, and otherwise where to get it: it holds a secret."""
    if secret.shows():
        found = keeper.page_process.new_link()
        print(f"\nThe page, for 24 hours (again with 'octapi page'):\n\n  {found['link']}\n", flush=True)
        if found["fingerprint"]:
            print(f"  Its certificate's SHA-256, for the browser's warning: {found['fingerprint']}\n", flush=True)
        if found["here"]:
            print(f"  In a browser on this computer, without a warning:\n\n  {found['here']}\n", flush=True)
    else:
        tell(f"page at port {keeper.page_process.port}; 'octapi page' prints the link.")


def share(keeper: MasterSupervisor, path: Path) -> None:
    """Keep a token for workers in a file that only root can read; it lives until it is revoked."""
    from octapi.trust import token as tokens
    from octapi.trust.authority_file import write_beside

    ledger, now = keeper.authority.ledger, keeper.authority.now()
    if path.exists():
        row = ledger.tokens.get(tokens.parse(path.read_text(encoding="utf-8")).ident)
        if row is not None and row.state(now) == "valid":
            row.is_shared = True
            return
        path.unlink()
    made = keeper.authority.new_token("worker", keeper.addresses(), SHARED_LIFE_S)
    ledger.tokens[made.ident].is_shared = True
    keeper.authority.save()
    write_beside(path, made.text() + "\n")
    tell(f"shares token {made.ident} with the workers of this computer in {path}.")


def run_insecure_master(listen: str, port: int, dask_port: int) -> None:
    """Run a master without encryption."""
    import asyncio

    from octapi.master import insecure as alone

    def ready(found: int, dask_found: int) -> None:
        tell(f"clients at {listen}:{found}, workers at {listen}:{dask_found}")

    asyncio.run(alone.serve(listen, port, dask_port, ready))


# ---- worker


def worker(
    token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="The token, '-' for stdin; with --insecure the master's host:port.")
    ] = "",
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File that holds the token.")] = None,
    slots: Annotated[int | None, typer.Option(metavar="N", help="Jobs at once; 0 means one for each core.")] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of this worker; the host name by default.")] = "",
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address of this device for its peers.")] = "",
    port: Annotated[int, typer.Option(metavar="PORT", help="Port for other workers; 0 for a free one.")] = 0,
    advertise: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address that others reach it at, with the same port.")
    ] = "",
    ssh_port: Annotated[int, typer.Option(metavar="PORT", help="Port of OctaPi's own sshd; 0 for none.")] = SSH_PORT,
    no_dask: Annotated[bool, typer.Option("--no-dask", help="Run OctaPi's jobs only, no Dask tasks.")] = False,
    metrics: MetricsDoor = "",
    node_exporter: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            envvar="OCTAPI_NODE_EXPORTER",
            help="HOST:PORT of a node_exporter, served through --metrics.",
        ),
    ] = "",
    log_level: service.LogLevel = None,
    log_json: service.LogJson = None,
    insecure: Insecure = False,
    install_service: service.Install = False,
    remove_service: service.Remove = False,
    leaves: Annotated[bool, typer.Option("--leaves", hidden=True)] = False,  # see "octapi start"
) -> None:
    """Run a worker: this device's cores join the cluster. A device that has joined needs no token again."""
    given = locals()
    from octapi.device.limits import cores
    from octapi.settings import Settings, default_home

    if remove_service:
        return service.remove("worker")
    logs.set_up("octapi worker", logs.LogOptions.load(log_level, log_json))
    if install_service:
        service.check("worker", insecure=insecure)
    at_once = Settings.load(slots=slots).slots or cores()
    if insecure:
        refuse_metrics(metrics)
        warn_insecure("worker.json")
        return run_insecure_worker(token, name, at_once, host)
    from octapi.trust import identity as identities
    from octapi.worker.respawn import is_again
    from octapi.worker.service import FILE, Options

    home = default_home()
    has_identity = (home / FILE).exists()
    text = "" if has_identity and is_again() else secret.take(token, token_file, ask=not has_identity)
    old = identities.load(home / FILE)
    options = Options(
        name, at_once, host or None, ssh_port, port, advertise, not no_dask, metrics, node_exporter, leaves
    )
    if not install_service:
        return run_worker(home, text, old, options)
    become_member(home, text, old, options)
    return service.install("worker", service.options(worker, given), home, ssh_port)


def become_member(home: Path, text: str, old: Any, options: Options) -> str:
    """Join if that is needed, and return this device's name.  Raises :exc:`TrustError` and :exc:`MasterNotFound`."""
    import socket

    from octapi.trust.token import parse
    from octapi.worker.service import JOIN_FIRST, join, must_join

    if old is None and not text:
        raise NotAMember(JOIN_FIRST)
    name = options.name or (old.name if old is not None else socket.gethostname().partition(".")[0])
    if text and must_join(old, parse(text), options.name):
        try:
            join(home, text, name)
        except OctapiError as error:
            if old is None:
                raise
            WORKER.warning(f"could not join with the token, and goes on as {old.name} of {old.cluster!r}: {error}")
    return name


def run_worker(home: Path, text: str, old: Any, options: Options) -> None:
    """Join if that is needed, and work; a device that was removed joins anew if it has a token."""
    import asyncio

    from octapi.worker.respawn import work_again
    from octapi.worker.service import Service, join

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


def run_insecure_worker(address: str, name: str, slots: int, host: str) -> None:
    """Run a worker without encryption."""
    import asyncio
    import socket

    from octapi.worker.respawn import work_again

    if not address:
        raise InsecureRefused("Give the master's host:port: octapi worker HOST:8788 --insecure")
    if address.startswith("octapi1."):
        raise InsecureRefused("That is a token, and --insecure uses none. Leave --insecure out.")

    def ready(found: str) -> None:
        tell(f"joined {address} from {found}", WORKER)

    async def work() -> None:
        from octapi.worker import connection
        from octapi.worker.addresses import Addresses
        from octapi.worker.resumable_agent import ResumableAgent

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


# ---- nodes


@nodes_app.callback()
def nodes(
    context: typer.Context,
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="host:port of the master.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the workers of the cluster, and how their certificates stand."""
    if context.invoked_subcommand:
        return
    if watch:
        from octapi.cli import live_view as watching

        watching.follow(address, watching.node_rows, watching.NODES, as_json)
        return
    from octapi.cli.jobs import ask_master

    facts, _ = ask_master(address, Nodes())
    rows = table(facts)
    if as_json:
        print(json.dumps(rows))
        return
    if rows:
        tables.show(HEAD, [cells(row) for row in rows], whole=("Name",))
    else:
        print("No worker has joined yet. 'octapi token create' on the master prints the line for a device.")
    for text in other_releases(facts):
        print(f"octapi: {visible(text)}", file=sys.stderr)
    for text in facts.get("trouble", ()):
        print(f"octapi: the master says: {visible(text)}", file=sys.stderr)


HEAD = ("Name", "State", "Address", "Slots", "Python", "In since", "Certificate")


def cells(row: dict[str, Any]) -> tuple[object, ...]:
    """Return a worker's cells, in the order of :data:`HEAD`."""
    away = time.strftime("since %Y-%m-%d %H:%M", time.localtime(row["away_since"])) if row["away_since"] else "now"
    where = (row["address"], row["slots"], row["python"]) if row["online"] else (f"not here {away}", "", "")
    since, _, certificate = row["certificate"].removeprefix("in since ").partition(", certificate ")
    return (row["name"], row.get("state", "away"), *where, since, certificate)


def remove(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the device or login.")]) -> None:
    """Remove a device: at once, and for good. It comes back only with a new token."""
    from octapi.cli.trust import ask_desk

    found = ask_desk("remove", name=name)
    print(f"Removed {' and '.join(found['removed'])} {name}.")
    if found["revoked_tokens"]:
        print(
            f"Revoked with it: {', '.join(found['revoked_tokens'])}, by which it came in. Devices that are in stay in; "
            "for new ones make another token."
        )
    if found["valid_tokens"]:
        print(
            f"Still valid: {', '.join(found['valid_tokens'])}. Under another name, whoever holds one of these tokens "
            "can join a device that was never in. 'octapi token revoke ID' ends one."
        )


def table(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Put what runs and what is written down together; workers that are not here come last."""
    here = {row["name"]: row for row in facts["workers"]}
    members = {row["name"]: row for row in facts["members"] if row["role"] == "worker"}
    rows = []
    for name in (*here, *(name for name in members if name not in here)):
        member = members.get(name, {})
        row = dict(
            here.get(name, {"name": name}), online=name in here, since=member.get("since"), ends=member.get("ends")
        )
        row["away_since"] = None if name in here else facts.get("seen", {}).get(name)
        rows.append(row | {"certificate": standing(member, facts["time"])})
    return rows


def other_releases(facts: dict[str, Any]) -> list[str]:
    """Return a line for each worker that runs another release than the master."""
    mine = facts.get("release", "")
    return [
        f"{row['name']} runs OctaPi {row['release']}, the master {mine}. Install the same release on both."
        for row in facts["workers"]
        if mine and row.get("release") and row["release"] != mine
    ]


def standing(member: dict[str, Any], now: float) -> str:
    """Say since when a member is in, and how its certificate stands."""
    if not member:
        return ""
    since = time.strftime("%Y-%m-%d", time.localtime(member["since"]))
    left_s = member["ends"] - now
    if left_s < 0:
        return f"in since {since}, certificate expired; it renews itself"
    return f"in since {since}, certificate for {days(left_s)}"
