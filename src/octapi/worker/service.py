"""A worker as a device runs it: it joins once, then finds its master again whatever happens to either."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from octapi import errors
from octapi.device import discovery, files
from octapi.device.accounts import SLOT_ACCOUNT, unprivileged
from octapi.device.signals import until_signalled
from octapi.errors import IdentityProblem, MasterNotFound, NotAMember, PeerRefused, TrustError
from octapi.protocol import stdio_json
from octapi.telemetry import heartbeat, logs
from octapi.text.back_off import BackOff
from octapi.text.reasons import in_words
from octapi.trust import identity as identities
from octapi.trust import joining, local_master, ssh
from octapi.trust.token import parse

if TYPE_CHECKING:
    from pathlib import Path

    from octapi.device.accounts import Account
    from octapi.telemetry.exporter import MetricsServer
    from octapi.trust.identity import Identity
    from octapi.trust.token import Token
    from octapi.worker.certificate_renewer import CertificateRenewer
    from octapi.worker.resumable_agent import ResumableAgent

log = logging.getLogger("octapi.worker")

FILE = "worker.json"
LOCK = "worker.lock"
JOIN_FIRST = (
    "This device is in no cluster yet. On the master run 'octapi token create', here run 'octapi worker TOKEN'."
)
#: how long to wait before the master is looked for again, in seconds
AGAIN_S = 3.0
#: how long the master may take to hear that this worker leaves, in seconds; containers are killed after ten
LEAVE_S = 2.0


class Options(NamedTuple):
    """What a person may choose for a worker."""

    name: str
    slots: int
    host: str | None = None
    ssh_port: int = ssh.PORT
    port: int = 0
    advertise: str = ""
    takes_tasks: bool = True
    #: HOST:PORT of the door for monitoring systems, and of the node_exporter behind it; empty for none
    metrics: str = ""
    node_exporter: str = ""
    #: it leaves the cluster's list when it is stopped, as a container does that was scaled away
    leaves: bool = False


def join(home: Path, text: str, name: str) -> None:
    """Join with a token, unless this device is a member of that cluster already.

    Raises :exc:`TrustError` and :exc:`MasterNotFound` with what is wrong.
    """
    token = parse(text)
    path = home / FILE
    old = identities.load(path)
    addresses = list(token.addresses)
    try:
        facts = join_apart(path, text, addresses, name, local_master.doors(addresses))
    except (MasterNotFound, PeerRefused):
        log.warning("the master does not answer at the token's addresses; looking in the network ...")
        found = discovery.doors_except(addresses)
        if not found:
            raise
        facts = join_apart(path, text, found, name)
    how = "joined again" if old is not None and old.cluster == facts["cluster"] else "joined"
    log.info(f"{how} the cluster {facts['cluster']!r} as {name}.")
    if abs(facts["behind_s"]) > joining.CLOCK_S:
        hours = abs(facts["behind_s"]) / 3600
        log.warning(f"this device's clock differs from the master's by {hours:.1f} h; using the master's.")


def join_apart(
    path: Path, token: str, addresses: list[str], name: str, guesses: list[str] | None = None
) -> dict[str, Any]:
    """Join in a process of its own, and return what it tells.  Raises what it raised."""
    files.private_directory(path.parent)
    done = subprocess.run(
        [sys.executable, "-m", "octapi.trust.in_subprocess", "join", str(path)],
        input=stdio_json.to_line({"token": token, "addresses": addresses, "name": name, "guesses": guesses or []}),
        capture_output=True,
        text=True,
        check=False,
    )
    facts: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"kind": "TrustError", "text": done.stderr}
    if done.returncode:
        raise errors.by_name(facts["kind"], errors.OctapiError, TrustError)(facts["text"])
    return facts


def must_join(old: Identity | None, token: Token, name: str) -> bool:
    """Say whether a token has to be used: not by a member of its cluster, unless it is to have another name."""
    return old is None or token.pin.hex()[:16] != old.root or bool(name and name != old.name)


def address_outside(seen: str) -> str:
    """Return the address under which the master sees this device if that is none of its own; else an empty text.

    Then addresses are translated in between, as they are for a container on a bridge.
    """
    return "" if not seen or seen.startswith("127.") or discovery.is_own(seen) else seen


class Service:
    """One worker process."""

    def __init__(self, home: Path, options: Options) -> None:
        self.home = home
        self.options = options
        found = identities.load(home / FILE)
        if found is None:
            raise NotAMember(JOIN_FIRST)
        self.identity = found
        self.lock = self._lock()
        self.sshd = ssh.Sshd(home, options.ssh_port)
        self.account: Account | None = None
        self.resumable: ResumableAgent
        self.state = "starting"

    def _lock(self) -> Any:
        """Make sure that one identity is used by one process.  Raises :exc:`IdentityProblem` when it is not."""
        import fcntl

        try:
            handle = os.open(self.home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:  # a file system that is read-only can still hold the lock, if the file is there
            try:
                handle = os.open(self.home / LOCK, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                raise IdentityProblem(f"The directory of this worker's identity cannot be used: {error}.") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise IdentityProblem(
                f"A worker runs with the identity in {self.home} already. Stop it, or use another OCTAPI_HOME."
            ) from error
        return handle

    async def run(self) -> None:
        """Work until a signal comes.  Raises :exc:`NotAMember` once this worker was removed."""
        from octapi.worker.certificate_renewer import CertificateRenewer
        from octapi.worker.resumable_agent import ResumableAgent

        member = CertificateRenewer(self.identity, self.home / FILE, takes_tasks=self.options.takes_tasks)
        member.on_renewed = lambda identity: self.sshd.renew(identity.ssh)
        self.account, why = unprivileged(SLOT_ACCOUNT)
        if why:
            log.warning(why)
        if self.account is not None:
            os.setgroups([])
        self.resumable = ResumableAgent(self.options.slots, self.identity.name, self.account)
        door = await self._open_metrics(member)
        self._start_ssh(member)
        beating = asyncio.create_task(heartbeat.beat("worker", lambda: self.state))
        try:
            while not await self._once(member):
                log.warning("lost the master; looking for it again.")
        finally:
            beating.cancel()
            self.resumable.close()
            if door is not None:
                door.close()
            self.sshd.stop()
            os.close(self.lock)
        if self.options.leaves:
            await self.leave(member.identity)

    async def leave(self, identity: Identity) -> None:
        """Take this worker off its cluster's list; if it is started again, it joins anew with its token."""
        why = "it has no address"
        try:
            async with asyncio.timeout(LEAVE_S):
                for address in identity.addresses:
                    try:
                        await joining.leave(identity, address)
                        return log.info(f"left the cluster {identity.cluster!r}.")
                    except (OSError, asyncio.IncompleteReadError, TrustError) as error:
                        why = joining.reason(error)
        except TimeoutError as error:
            why = joining.reason(error)
        return log.warning(f"could not leave the cluster's list of devices ({why}).")

    def _start_ssh(self, member: CertificateRenewer) -> None:
        if not self.options.ssh_port:
            return
        try:
            self.sshd.start(self.identity.ssh)
        except (TrustError, OSError) as error:
            log.warning(f"SSH is off: {error}", extra=logs.LINES)
        member.ssh = self.sshd.facts()

    async def _open_metrics(self, member: CertificateRenewer) -> MetricsServer | None:
        """Open the door for monitoring systems, if there is to be one.  Raises :exc:`SettingsError`."""
        if not self.options.metrics:
            return None
        from octapi.worker import collector

        member.meter = collector.WorkerCollector(self.resumable)
        return await collector.serve(
            member.meter, member, self.options.metrics, self.options.node_exporter, log.warning
        )

    async def _once(self, member: CertificateRenewer) -> bool:
        """Find the master and work for it; say whether a signal came."""
        told = asyncio.create_task(until_signalled())
        looking = asyncio.create_task(self.find(member))
        try:
            await asyncio.wait((told, looking), return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                return True
            master = looking.result()
        finally:
            for task in (told, looking):
                task.cancel()
            await asyncio.gather(told, looking, return_exceptions=True)
        return await self._serve(member, master)

    async def _serve(self, member: CertificateRenewer, master: str) -> bool:
        from octapi.worker import connection
        from octapi.worker.addresses import Addresses

        def ready(address: str) -> None:
            self.state = f"working for {member.identity.cluster}"
            log.info(f"{self.identity.name} works for {member.identity.cluster} at {master}", extra=logs.ON_STDOUT)

        options = self.options
        try:
            place = Addresses(options.host, options.port, options.advertise or address_outside(member.seen))
            return await connection.serve(master, self.resumable, place, ready, member)
        except (OSError, RuntimeError, ValueError) as error:
            log.warning(f"could not work for the master at {master}: {in_words(error)}")
            await asyncio.sleep(AGAIN_S)
            return False

    async def find(self, member: CertificateRenewer) -> str:
        """Return ``host:port`` of the scheduler, by known addresses, then by multicast; go on until it is there."""
        loop = asyncio.get_running_loop()
        again = BackOff()
        self.state = "looking for the master"
        while True:
            known = list(member.identity.addresses)
            log.debug(f"asking for the master at {', '.join(known)}.")
            try:
                return await member.find(known)
            except MasterNotFound as error:
                why = str(error)
            with contextlib.suppress(MasterNotFound):
                return await member.find(await asyncio.to_thread(local_master.doors, known))
            rows = await asyncio.to_thread(discovery.browse_apart, discovery.BROWSE_S, member.identity.cluster_id)
            own = [row for row in rows if row.cluster_id == member.identity.cluster_id]
            try:
                return await member.find([address for row in own for address in row.addresses])
            except MasterNotFound:
                others = ", ".join(sorted({row.cluster for row in rows if row not in own})) or "none"
            if again.is_due(f"{why} {others}", loop.time()):
                log.warning(
                    f"waiting for the master. {why} In the network: {len(own)} of this cluster; others: {others}."
                )
            await asyncio.sleep(AGAIN_S)
