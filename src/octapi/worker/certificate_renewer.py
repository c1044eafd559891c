"""A worker's membership: its identity, the doors where it is known, and what it hears of others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from octapi.engine.guard import Guard
from octapi.errors import MasterNotFound, NotAMember, TrustError
from octapi.text.addresses import split
from octapi.trust import identity as identities
from octapi.trust import policy
from octapi.trust.contexts import Clock, Trust

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from octapi.trust.identity import Identity
    from octapi.worker.collector import WorkerCollector

log = logging.getLogger("octapi.worker")

#: how often the clock is looked at while a renewal is not due, in seconds; timers do not run while a board sleeps
LOOK_S = 30.0
#: how long to wait before a renewal that failed is tried again, in seconds
AGAIN_S = 30.0
#: the longest that a renewal may take, in seconds
RENEW_S = 60.0


class CertificateRenewer:
    """Keeps one worker's identity fresh; without ``path`` it lasts as long as the process."""

    def __init__(self, identity: Identity, path: Path | None = None, *, takes_tasks: bool = True) -> None:
        self.identity = identity
        self.path = path
        self.trust = Trust(identity, Clock(), on_refused=lambda text: log.warning(f"refused {text}"))
        self.guard = Guard(self.trust, policy.WORKER_SIDE)
        #: whether this worker takes Dask's own tasks and data, in a process beside this one
        self.takes_tasks = takes_tasks
        self.guard.takes_tasks = False
        self.on_renewed: Callable[[Identity], None] = lambda _: None
        #: port and user under which the master may log in; empty when it cannot
        self.ssh: dict[str, Any] = {}
        #: counts for monitoring systems, and their key
        self.meter: WorkerCollector | None = None
        #: the address under which the master's door saw this device
        self.seen = ""
        self._due = asyncio.Event()
        self._has_said_so = False

    def take(self, identity: Identity) -> None:
        """Use an identity with news in it from now on, and keep it."""
        is_new = identity.certificate != self.identity.certificate
        self.identity = identity
        if is_new:
            self.trust.renew(identity)
            self.on_renewed(identity)
        else:
            self.trust.accept(identity.authorities)
            self.trust.identity = identity
        if self.path is not None:
            try:
                identities.save(self.path, identity)
            except OSError as error:
                if not self._has_said_so:
                    self._has_said_so = True
                    log.warning(f"this worker's identity cannot be written, so news are lost when it ends: {error}")

    def news(self, news: dict[str, Any]) -> None:
        """Take what the master tells all workers: its time, who was removed, which authorities count."""
        self.trust.clock.set(news["time"])
        removed = set(news["removed"])
        fresh = removed - self.trust.removed
        self.trust.removed = removed
        self.guard.drop(fresh)
        if tuple(news["authorities"]) != self.identity.authorities:
            self.take(self.identity.with_answer({"authorities": news["authorities"]}))
        if self.meter is not None:
            self.meter.key = news.get("metrics", "")
        if news.get("renew"):
            self._due.set()

    async def call(self, address: str) -> dict[str, Any]:
        """Ask the door at ``address`` how things stand, and take what it says.

        Raises :exc:`NotAMember` when this worker was removed, OSError or :exc:`TrustError` when it is another's door.
        """
        from octapi.trust import joining

        greeting, answer = await joining.call(self.identity, address)
        self.trust.clock.set(greeting.time)
        if abs(greeting.behind_s) > joining.CLOCK_S:
            direction = "behind" if greeting.behind_s > 0 else "ahead of"
            hours = abs(greeting.behind_s) / 3600
            log.warning(f"this device's clock is {hours:.1f} h {direction} the master's; using the master's.")
        self.take(self.identity.with_answer(answer))
        self.seen = str(answer.get("seen", ""))
        if answer["due"] or greeting.time >= self.identity.renew_at():
            await self.renew(address)
        return answer

    async def renew(self, address: str) -> None:
        """Get a new certificate at the door at ``address``.  Raises :exc:`TrustError` when that fails."""
        if self.path is None:
            return
        try:
            done = await asyncio.to_thread(self._renew_apart, address)
        except (OSError, subprocess.SubprocessError) as error:  # no process or memory for it, or it hangs
            raise TrustError(f"The renewal could not be made: {error}.") from error
        if done.returncode:
            raise TrustError(done.stderr.strip() or "The renewal failed.")
        found = identities.load(self.path)
        if found is not None:
            self.take(found)
            log.info("renewed this worker's certificate.")

    def _renew_apart(self, address: str) -> subprocess.CompletedProcess[str]:
        """Renew in a process of its own: the library that makes keys is too big to stay on a small board."""
        command = [sys.executable, "-m", "octapi.trust.in_subprocess", "renew", str(self.path), address]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=RENEW_S, stdin=subprocess.DEVNULL
        )

    async def keep_fresh(self) -> None:
        """Renew when it is time, or when the master asks for it; go on trying when that fails."""
        if self.path is None:
            return
        while True:
            with contextlib.suppress(TimeoutError):
                left_s = self.identity.renew_at() - self.trust.clock.now()
                await asyncio.wait_for(self._due.wait(), min(max(left_s, 0.1), LOOK_S))
            if self._due.is_set() or self.trust.clock.now() >= self.identity.renew_at():
                if await self._try_to_renew():
                    self._due.clear()
                else:
                    await asyncio.sleep(AGAIN_S)

    async def _try_to_renew(self) -> bool:
        for address in self.identity.addresses:
            try:
                await self.renew(address)
                return True
            except (OSError, TrustError) as error:
                log.warning(f"could not renew this worker's certificate at {address}: {error}")
        return False

    async def find(self, addresses: list[str]) -> str:
        """Return ``host:port`` of the scheduler, from the first of these doors that knows this worker.

        Raises :exc:`NotAMember` when it was removed, and :exc:`MasterNotFound` when no door answers.
        """
        from octapi.trust import joining

        tried = []
        for address in addresses:
            try:
                answer = await self.call(address)
            except NotAMember:
                raise
            except (OSError, asyncio.IncompleteReadError, TrustError) as error:
                tried.append(f"{address} ({joining.reason(error)})")
                continue
            return f"{split(address, joining.DEFAULT_PORT)[0]}:{answer['master']['dask']}"
        raise MasterNotFound(
            f"No master of the cluster {self.identity.cluster!r} answers at {', '.join(tried) or 'any address'}."
        )
