"""The supervisor's part of metrics: the token, the bound socket, the directory for a Prometheus on this computer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from octapi.device import files
from octapi.telemetry import exporter
from octapi.telemetry.redaction import hide
from octapi.trust import metrics_token

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from octapi.trust.authority import Authority

TOKEN = "token"
AUTHORITIES = "ca.pem"


class MetricsAccess:
    """What a master does for a monitoring system; without ``where`` (HOST:PORT) it opens no door.

    ``shared`` is a directory in which the token and the authorities are kept as they are now, for a Prometheus that can
    read its files.
    """

    def __init__(self, home: Path, where: str = "", shared: Path | None = None) -> None:
        self.home = home
        self.where = where
        self.shared = shared
        self.sock: socket.socket | None = None
        self._removed: int | None = None
        self._authority: Authority | None = None
        self._tell: Callable[[], None] = lambda: None

    def attach(self, authority: Authority, tell: Callable[[], None]) -> None:
        """Belong to a master: share its authorities, and ``tell`` its workers of another token."""
        self._authority = authority
        self._tell = tell

    def open(self) -> None:
        """Bind the socket, for the scheduler's process, and share the token.  Raises :exc:`SettingsError`."""
        if self.where:
            self.sock = exporter.bound(self.where)
            self.token()
        self.share()

    def fd(self) -> int | None:
        """Return the descriptor of the socket."""
        return None if self.sock is None else self.sock.fileno()

    def port(self) -> int | None:
        """Return the port of the door."""
        return None if self.sock is None else int(self.sock.getsockname()[1])

    def close(self) -> None:
        """Give the socket back."""
        if self.sock is not None:
            self.sock.close()

    def token(self, *, renew: bool = False) -> str:
        """Return the token, made at first use, or another one."""
        return hide(metrics_token.renew(self.home) if renew else metrics_token.token(self.home))

    def key(self) -> str:
        """Return what others know of the token; nothing before its first use."""
        return metrics_token.key_of(self.token()) if (self.home / metrics_token.FILE).exists() else ""

    def hand_out(self, renew: bool) -> str:
        """Return the token, another one if that is wanted; workers hear of it at once."""
        found = self.token(renew=renew)
        self.share()
        self._tell()
        return found

    def share(self) -> None:
        """Write what a Prometheus on this computer needs, if there is a directory for it.

        Whoever was removed since may have seen the token when it was asked for its metrics: so make another.
        """
        if self.shared is None or self._authority is None:
            return
        before, self._removed = self._removed, len(self._authority.removed())
        files.write(self.shared / TOKEN, self.token(renew=before is not None and self._removed > before))
        files.write(self.shared / AUTHORITIES, "".join(self._authority.authorities()))
