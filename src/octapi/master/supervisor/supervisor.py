"""The process that holds the authority's key: the door, the desk, the announcement, and the scheduler as its child.

The scheduler runs in a process of its own, under an account of its own when the master was started by root, because it
unpickles what clients send; this process unpickles nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi.device import children, discovery, files
from octapi.device.accounts import SCHEDULER_ACCOUNT, files_of, unprivileged
from octapi.device.signals import until_signalled
from octapi.errors import ClusterError, MessageRefused, StateError
from octapi.install import wheel_index
from octapi.install.wheel_server import WheelServer
from octapi.master.supervisor.metrics_access import MetricsAccess
from octapi.master.supervisor.page_process import PageConfig, PageProcess
from octapi.master.supervisor.retry_writes import RetryingWrites
from octapi.master.supervisor.script_runner import ScriptRunner
from octapi.master.supervisor.ssh_access import SshAccess
from octapi.protocol import stdio_json
from octapi.settings import Settings, state_dir
from octapi.store import location
from octapi.telemetry import heartbeat, logs
from octapi.trust import local_master, names
from octapi.trust.control_socket import ControlSocket
from octapi.trust.enrolment_server import EnrolmentServer
from octapi.trust.names import CLIENT, MASTER

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.device.accounts import Account
    from octapi.master.supervisor.script_files import SubmittedScript
    from octapi.trust.authority import Authority
    from octapi.trust.identity import Identity

log = logging.getLogger("octapi.master.supervisor")

#: how often addresses and certificates are looked at, in seconds
LOOK_S = 5.0
#: how long devices have to hear of a new authority before the master shows its certificate, in seconds
SPREAD_S = 5.0
#: how long the scheduler's process may say nothing before it counts as stuck, in seconds
SILENT_S = 4 * heartbeat.PERIOD_S
#: how long the scheduler may take to end, in seconds
STOP_S = 10.0
#: the life of a submitted script's certificate, in seconds, and how often a running one gets a new one
RUN_LIFE_S = 86400.0
RUN_RENEW_S = RUN_LIFE_S / 4
NO_RUNNER = "This master keeps nothing on disk, so it takes no scripts; its first lines say why."


def socket_path(home: Path) -> Path:
    """Return where the desk listens: for everybody of this computer if root runs the master, else for its owner."""
    is_system = os.geteuid() == 0 and home == Path("/root/.octapi")
    return Path("/run/octapi/master.sock") if is_system else home / "master.sock"


class MasterSupervisor:
    """One secured master."""

    def __init__(
        self,
        home: Path,
        authority: Authority,
        listen: str,
        ports: tuple[int, int, int],
        advertise: str,
        ssh_port: int = 0,
        metrics: MetricsAccess | None = None,
        page: PageConfig | None = None,
    ) -> None:
        self.home = home
        self.authority = authority
        self.listen = listen
        self.join_port, self.port, self.dask_port = ports
        self.advertise = [part.strip() for part in advertise.split(",") if part.strip()]
        self.page_process = PageProcess(page or PageConfig(is_wanted=False), home, authority, self.page_facts)
        counter = WheelServer(home / wheel_index.DIRECTORY)
        self.enrolment_server = EnrolmentServer(
            authority, self.page_process.refused, self.changed, self.standing, counter
        )
        self.control_socket = ControlSocket(
            authority, self.addresses, self.standing_here, self.renewing, self.page_process
        )
        self.page_process.control_socket = self.control_socket
        self._state_place = ""
        self.metrics = metrics or MetricsAccess(home)
        self.metrics.attach(authority, self.tell)
        self.control_socket.metrics_token = self.metrics.hand_out
        self.scheduler: asyncio.subprocess.Process | None = None
        self.identity: Identity | None = None
        self.runner: ScriptRunner | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self.workers: list[dict[str, Any]] = []
        self.announcement: discovery.Announcement | None = None
        self._announced: list[str] = []
        self._disk = RetryingWrites()
        self.ssh = SshAccess(home, ssh_port, authority, self._disk)
        self._account: Account | None = None
        self._heard = 0.0
        self._told_refused = 0

    # ---- what others are told

    def hosts(self) -> list[str]:
        """Return the addresses under which other computers reach this master; none if it cannot know them."""
        if self.advertise:
            return self.advertise
        if not self.listens_everywhere:
            return [self.listen]
        return discovery.own_addresses() or ([] if discovery.is_container() else ["127.0.0.1"])

    def addresses(self) -> list[str]:
        """Return ``host:port`` of the door, for tokens.

        A master whose only addresses are those of a bridge names them and loopback: this computer joins by them, and
        so do containers beside it.
        """
        return [
            f"{host}:{self.join_port}" for host in self.hosts() or [*discovery.inner_addresses(), local_master.LOOPBACK]
        ]

    def standing(self, caller: str = "") -> dict[str, Any]:
        """Return what a member that comes from an address is told: where everything listens.

        Members on this computer hear of its loopback too, which stays when the network changes.
        """
        found = self.addresses()
        if self.listens_everywhere and caller and (caller.startswith("127.") or discovery.is_own(caller)):
            found = list(dict.fromkeys((*found, f"{local_master.LOOPBACK}:{self.join_port}")))
        return {"addresses": found, "master": {"clients": self.port, "dask": self.dask_port}}

    def standing_here(self) -> dict[str, Any]:
        """Return what logins of this computer are told: its own loopback is the nearest way."""
        found = self.standing()
        if self.listens_everywhere:
            found["addresses"] = list(dict.fromkeys((f"{local_master.LOOPBACK}:{self.join_port}", *found["addresses"])))
        return found

    @property
    def listens_everywhere(self) -> bool:
        """Say whether it listens at all addresses of this computer, loopback too."""
        return self.listen in ("0.0.0.0", "::", "")

    def roster(self) -> list[dict[str, Any]]:
        """Return the members for people."""
        keys = ("name", "role", "since", "renewed", "ends", "address")
        return [{key: asdict(member)[key] for key in keys} for member in self.authority.ledger.active()]

    def removed(self) -> list[str]:
        """Return the idents that are refused: of members that were removed, and of the scripts that they submitted."""
        found = self.authority.removed()
        return found + ([] if self.runner is None else self.runner.outcasts(found))

    def news(self) -> dict[str, Any]:
        """Return what the scheduler must know."""
        return {
            "time": self.authority.now(),
            "removed": self.removed(),
            "authorities": self.authority.authorities(),
            "roster": self.roster(),
            "metrics": self.metrics.key(),
            "refused": self.enrolment_server.refused,
            "viewers": [self.page_process.ident],
            "owners": [self.authority.owner_ident(uid) for uid in sorted({0, os.geteuid()})],
        }

    def page_facts(self) -> dict[str, Any]:
        """Return what the page must know."""
        near = local_master.LOOPBACK if self.listens_everywhere else self.listen
        news = {key: value for key, value in self.news().items() if key in ("time", "removed", "authorities", "roster")}
        return {
            "news": news,
            "listen": self.listen,
            "places": [[near, self.port]],
            "hosts": self.hosts(),
            "state": Path(self._state_place) if self._state_place else None,
        }

    def tell(self, **more: Any) -> None:
        """Tell the scheduler, which tells the workers, and the page."""
        self.page_process.tell(**self.page_facts()["news"])
        self._told_refused = self.enrolment_server.refused
        self.send(self.news() | more)

    def send(self, message: dict[str, Any]) -> None:
        """Send the scheduler one message."""
        if self.scheduler is not None and self.scheduler.stdin is not None:
            try:
                self.scheduler.stdin.write(stdio_json.to_line(message).encode())
            except MessageRefused as error:
                log.warning(f"could not tell the scheduler {message.get('kind') or 'news'}: {error}.")

    def changed(self) -> None:
        """Somebody came or was renewed."""
        self.tell()
        if self.runner is not None:
            self.runner.owners_removed(set(self.authority.removed()))
        self.ssh.write(self.workers)

    def renewing(self, is_new_authority: bool) -> None:
        """Members or authorities changed; after a new authority everybody gets new certificates."""
        self.metrics.share()
        if not is_new_authority:
            return self.changed()
        self.tell(renew=True)
        self.ssh.write(self.workers)
        asyncio.get_running_loop().call_later(SPREAD_S, self._renew_own)
        return None

    def _renew_own(self) -> None:
        self.identity = self.authority.identity(MASTER, "master")
        self.tell(identity=self.identity.to_json())
        self._disk.attempt("the page's certificate", self.page_process.renew)
        self.ssh.renew()

    # ---- running

    async def run(self, on_ready: Callable[[MasterSupervisor], None]) -> None:
        """Run until a signal comes.  Raises OSError when a port is taken, and :exc:`ClusterError`."""
        try:
            self.metrics.open()
            self.join_port = await self.enrolment_server.listen(self.listen, self.join_port)
            await self.control_socket.listen(socket_path(self.home))
            self.metrics.share()
            await self._start_scheduler()
            self.page_process.start(self._account)
            self.ssh.write(self.workers)
            self.ssh.start()
            await self._announce()
            if self.runner is not None:
                await self.runner.open()
            on_ready(self)
            await self._watch()
        finally:
            await self.close()

    async def _start_scheduler(self) -> None:
        account, why = unprivileged(SCHEDULER_ACCOUNT)
        if why:
            log.warning(why)
        self._account, self._state_place = account, self._prepare_state(account)
        self.identity = self.authority.identity(MASTER, "master")
        start = self.news() | {
            "host": self.listen,
            "port": self.port,
            "dask_port": self.dask_port,
            "identity": self.identity.to_json(),
            "account": account,
            "state": self._state_place,
            "settings": asdict(Settings.load()),
            "metrics_fd": self.metrics.fd(),
            "dashboard": self.page_process.wants_dask(),
            "log": logs.plain(),
        }
        handles = [fd for fd in [self.metrics.fd()] if fd is not None]
        self.scheduler = await stdio_json.start("octapi.master.gateway.server", handles)
        assert self.scheduler.stdin is not None
        assert self.scheduler.stdout is not None
        self.scheduler.stdin.write(stdio_json.to_line(start).encode())
        ready = await self.scheduler.stdout.readline()
        if not ready:
            raise ClusterError("The scheduler did not start; its own message is above.")
        answer = json.loads(ready)
        self.port, self.dask_port = answer["port"], answer["dask_port"]
        self.page_process.dask = answer.get("dashboard", "")

    def _prepare_state(self, account: Account | None) -> str:
        """Make the directory of what survives the master, and return the state directory; an empty text if it fails."""
        state = state_dir()
        try:
            location.prepare(state, account)
        except StateError as error:
            log.warning(f"no history, and no outcomes for clients that go away: {error}.")
            return ""
        cluster, removed = self.authority.state.cluster_id, self.authority.removed
        self.runner = ScriptRunner(state, Settings.load(), self._introduce, self.send, cluster, removed)
        return str(state)

    def _introduce(self, run: SubmittedScript, home: Path) -> dict[str, str]:
        """Give a submitted script an identity of its own for a day, and say where it lies."""
        ident = names.ident_of_run(self.authority.state.cluster_id, run.id)
        found = self.authority.identity(CLIENT, f"run-{run.id}", RUN_LIFE_S, ident)
        path = home / ".octapi" / "client.json"
        with files_of(run.account):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            files.replace(path, found.with_answer(self.standing_here()).to_json(), 0o600)
        return {"OCTAPI_HOME": str(path.parent), "OCTAPI_ADDRESS": str(path)}

    def _hear(self, message: dict[str, Any]) -> None:
        """Take what the scheduler's process tells; it repeats words of workers, so no message may end this one."""
        self._heard = asyncio.get_running_loop().time()
        try:
            self._take(message)
        except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
            log.warning(f"ignored a message of the scheduler: {type(error).__name__}: {error}")

    def _take(self, message: dict[str, Any]) -> None:
        if message["kind"] == "workers":
            self.workers = message["rows"]
            self.ssh.write_config(self.workers)
        elif message["kind"] == "ask":
            answering = asyncio.create_task(self._answer(message))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)

    async def _answer(self, message: dict[str, Any]) -> None:
        """Answer what the scheduler's process asks of submitted scripts."""
        found = {"error": NO_RUNNER} if self.runner is None else await self.runner.answer(message["request"])
        self.send({"kind": "answer", "number": message["number"], "answer": found})

    async def _announce(self) -> None:
        """Announce this master, anew when its addresses have changed."""
        hosts = self.hosts()
        addresses = [host for host in hosts if host.replace(".", "").isdigit() and not host.startswith("127.")]
        if self.announcement is None:
            state = self.authority.state
            self.announcement = discovery.Announcement(state.cluster, state.cluster_id, self.join_port)
        if addresses != self._announced:
            try:
                await self.announcement.open(addresses)
            except OSError as error:
                log.warning(
                    f"cannot announce this master in the network ({error}); devices find it by the token's addresses."
                )
            self._announced = addresses

    async def _watch(self) -> None:
        """Work until a signal comes or the scheduler ends."""
        assert self.scheduler is not None
        assert self.scheduler.stdout is not None
        told = asyncio.create_task(until_signalled())
        hearing = asyncio.create_task(stdio_json.follow(self.scheduler.stdout, self._hear, log.warning))
        self._heard = asyncio.get_running_loop().time()
        looking = asyncio.create_task(self._look())
        beating = asyncio.create_task(heartbeat.beat("master", self._state))
        tasks = (told, hearing, looking, beating)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not told.done():
                for task in tasks:
                    if task.done():
                        task.result()
                raise ClusterError("The scheduler ended by itself; its own message is above.")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _state(self) -> str:
        """Say how the master is; nothing while the scheduler is silent."""
        if asyncio.get_running_loop().time() - self._heard > SILENT_S:
            return ""
        return f"{len(self.workers)} workers"

    async def _look(self) -> None:
        """Keep addresses and the master's own certificates fresh."""
        while True:
            assert self.identity is not None
            await asyncio.sleep(min(LOOK_S, max(0.1, self.identity.renew_at() - self.authority.now())))
            await self._announce()
            if self.enrolment_server.refused != self._told_refused:
                self.tell()
            self._disk.retry()
            if self.authority.now() >= self.identity.renew_at():
                self._renew_own()
                self.ssh.write(self.workers)
                self._disk.attempt("the authority's state", self.authority.save)
            if self.runner is not None:
                self.runner.introduce_again(RUN_RENEW_S)

    async def close(self) -> None:
        """End everything."""
        await self.enrolment_server.close()
        await self.control_socket.close()
        self.ssh.stop()
        self.metrics.close()
        await self.page_process.close()
        if self.runner is not None:
            await self.runner.close()
        if self.announcement is not None:
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(self.announcement.close(), 2)
        if self.scheduler is not None:
            await children.stop_soon(self.scheduler, STOP_S)
        self._disk.attempt("the authority's state", self.authority.save)
