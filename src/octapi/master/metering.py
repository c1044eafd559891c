"""The keeper's part of metrics: the token, the bound socket, and the directory for a Prometheus on this computer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from octapi import scrapes
from octapi.trust import files, scraping

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from pathlib import Path

TOKEN = "token"
AUTHORITIES = "ca.pem"


class Metrics:
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

    def open(self) -> None:
        """Bind the socket, before the scheduler's process gives up its rights.  Raises :exc:`SettingsError`."""
        if self.where:
            self.sock = scrapes.bound(self.where)
            scraping.token(self.home)

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
        return scraping.renew(self.home) if renew else scraping.token(self.home)

    def key(self) -> str:
        """Return what others know of the token; nothing before its first use."""
        return scraping.key_of(self.token()) if (self.home / scraping.FILE).exists() else ""

    def share(self, authorities: Sequence[str], removed: int) -> None:
        """Write what a Prometheus on this computer needs, if there is a directory for it.

        Who was ``removed`` (their number) may have seen the token when it was asked for its metrics: so make another.
        """
        before, self._removed = self._removed, removed
        if self.shared is None:
            return
        files.write(self.shared / TOKEN, self.token(renew=before is not None and removed > before))
        files.write(self.shared / AUTHORITIES, "".join(authorities))
