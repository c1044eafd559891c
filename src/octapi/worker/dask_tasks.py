"""Dask's own tasks on a worker: in a process beside the agent, while the master says that somebody uses Dask."""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

from octapi.telemetry import logs
from octapi.worker.dask_process import DaskProcess

if TYPE_CHECKING:
    from octapi.trust.identity import Identity
    from octapi.worker.addresses import Addresses
    from octapi.worker.certificate_renewer import CertificateRenewer
    from octapi.worker.resumable_agent import ResumableAgent

log = logging.getLogger("octapi.worker")


class DaskTasks:
    """Starts and ends the process of Dask's tasks of one worker, for one connection to the master."""

    def __init__(
        self, master: str, resumable: ResumableAgent, place: Addresses, member: CertificateRenewer | None
    ) -> None:
        self._master = master
        self._station = resumable
        self._place = place
        self._member = member
        self._process: DaskProcess | None = None
        self._certificate = ""

    @property
    def pid(self) -> int:
        """Return the number of the process; 0 if there is none."""
        return 0 if self._process is None else self._process.pid

    def want(self, is_wanted: bool) -> None:
        """Have a process, or none."""
        if is_wanted and self._process is None:
            resumable = self._station
            self._process = DaskProcess(self._facts, resumable.slots, log.warning, resumable.account)
        elif not is_wanted and self._process is not None:
            process, self._process = self._process, None
            threading.Thread(target=process.close, name="octapi-dask-end").start()

    def tell(self, news: dict[str, Any]) -> None:
        """Pass news of trust on."""
        if self._process is not None:
            self._process.tell(news)

    def renew(self, identity: Identity) -> None:
        """Pass a new certificate on, if it is one."""
        if self._process is not None and identity.certificate != self._certificate:
            self._process.tell({"identity": self._shown(identity)})

    def close(self) -> None:
        """End the process, and wait for its end."""
        if self._process is not None:
            self._process.close()

    def _shown(self, identity: Identity) -> str:
        """Return what Dask's process needs of an identity: no keys for SSH."""
        self._certificate = identity.certificate
        return dataclasses.replace(identity, ssh={}, desk="").to_json()

    def _facts(self) -> dict[str, Any]:
        """Return what a new process is told."""
        place, member = self._place, self._member
        found = {
            "master": self._master,
            "name": self._station.name,
            "nthreads": self._station.slots,
            "host": place.host,
            "port": place.port_to_listen,
            "path": sys.path,
            "contact": place.contact("tcp" if member is None else "octapi"),
            "log": logs.plain(),
        }
        if member is not None:
            trust = member.trust
            found |= {"identity": self._shown(member.identity), "time": trust.clock.now()}
            found["removed"] = sorted(trust.removed)
        return found
