"""SSH at a master: its own sshd, its certificate as a user, and the list of workers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from octapi.errors import TrustError
from octapi.trust import ssh

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from octapi.master.supervisor.retry_writes import RetryingWrites
    from octapi.trust.authority import Authority

log = logging.getLogger("octapi.master.supervisor")


class SshAccess:
    """What ``ssh`` needs at a master, with the sshd that listens at ``port``; none does if that is 0."""

    def __init__(self, home: Path, port: int, authority: Authority, disk: RetryingWrites) -> None:
        self.sshd = ssh.Sshd(home, port)
        self._home = home
        self._authority = authority
        self._disk = disk

    def start(self) -> None:
        """Let the owner of keys in ``authorized_keys`` log into this master, and nobody else but the master itself."""
        if not self.sshd.port:
            return
        try:
            self.sshd.start(self._authority.ssh_host(ssh.host_key(self._home)))
        except (TrustError, OSError) as error:
            log.warning(f"SSH is off: {error}")

    def stop(self) -> None:
        """End the sshd."""
        self.sshd.stop()

    def renew(self) -> None:
        """Give the sshd a new certificate."""
        if self.sshd.process is not None:
            self._disk.attempt(
                "the certificate of this master's sshd",
                lambda: self.sshd.renew(self._authority.ssh_host(ssh.host_key(self._home))),
            )

    def write(self, workers: Sequence[dict[str, Any]]) -> None:
        """Write the master's certificate as a user, and the list of workers."""
        self._disk.attempt("the master's certificate for SSH", self._write_client)
        self.write_config(workers)

    def write_config(self, workers: Sequence[dict[str, Any]]) -> None:
        """Write the list of workers, as ``ssh`` reads it."""
        self._disk.attempt("the list of workers for SSH", lambda: ssh.write_config(self._home, workers))

    def _write_client(self) -> None:
        revoked = [member.ssh_key for member in self._authority.ledger.removed()]
        public = ssh.key(self._home / ssh.DIRECTORY / "id_ed25519")
        ssh.write_client(self._home, self._authority.ssh_user(public), self._authority.ssh_authority(), revoked)
