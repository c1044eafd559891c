"""The page's process, as the supervisor starts and answers it.  Without the extra there is none; one line says so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import socket
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from octapi.device import children, discovery, files
from octapi.errors import OctapiError, TrustError
from octapi.install import build_index, install_command, wheel_index
from octapi.page import proxies
from octapi.page.links import ACT, LIFE_S, Links
from octapi.page.parts import DASK_MISSING, DASK_PARTS, MISSING, are_here, is_installed
from octapi.protocol import stdio_json
from octapi.settings import Settings
from octapi.store import location
from octapi.telemetry import logs
from octapi.trust import certificates
from octapi.trust.names import CLIENT, WORKER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from octapi.device.accounts import Account
    from octapi.trust.authority import Authority
    from octapi.trust.control_socket import ControlSocket

log = logging.getLogger("octapi.master.supervisor")

DEFAULT_PORT: Final = 8787
#: where a page that speaks HTTPS is also reached by HTTP, on this computer alone
HERE_PORT: Final = 8784
LOOPBACK: Final = "127.0.0.1"
#: the settings that a wish is made of
SETTINGS: Final = ("page", "page_port", "page_listen", "page_proxy", "page_proxy_from", "page_names", "dask_dashboard")
STOP_S: Final = 5.0
#: refusals at the door that people can read
REFUSALS: Final = 50
#: between the end of the page's process and its next start, in seconds
AGAIN_S: Final = 3.0
LONGEST_PAUSE_S: Final = 300.0
#: a page that ran so long is well, in seconds
STEADY_S: Final = 60.0
#: the life of the certificate that browsers see, in seconds: they accept none that is longer than 398 days
TLS_LIFE_S: Final = 397 * 86400.0
#: the longest life of a token that the page may make, in seconds
TOKEN_LIFE_S: Final = 7 * 86400.0


@dataclass(frozen=True)
class PageConfig:
    """How the page is wanted.

    ``listen`` is the address, by default the master's.  Behind a ``proxy`` it is loopback by default, the page speaks
    HTTP and believes X-Forwarded-For from loopback and from the addresses and networks in ``proxy_from``.  ``names``
    are names of hosts by which browsers may ask for it, separated by commas, the first in its links.
    """

    is_wanted: bool = True
    listen: str = ""
    port: int = DEFAULT_PORT
    proxy: bool = False
    proxy_from: str = ""
    names: str = ""
    dask: bool = False
    #: the port of the container's host that leads to it; 0 for the same
    published: int = 0


def wish_of(given: dict[str, Any]) -> PageConfig:
    """Return the wish of the settings, and of those of them that were given as options; None leaves the setting.

    Raises :exc:`octapi.errors.SettingsError`.
    """
    found = Settings.load(**{key: given.get(key) for key in SETTINGS})
    proxies.networks(found.page_proxy_from)
    return PageConfig(
        found.page,
        found.page_listen,
        found.page_port,
        found.page_proxy,
        found.page_proxy_from,
        found.page_names,
        found.dask_dashboard,
        found.page_published,
    )


def is_loopback(host: str) -> bool:
    """Say whether only this computer reaches an address."""
    return host.startswith("127.") or host in ("localhost", "::1")


def bind(host: str, port: int) -> socket.socket:
    """Listen, while this process still may.  Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(128)
    except OSError:
        found.close()
        raise
    return found


class PageProcess:
    """Keeps the page's process running.

    ``standing()`` say what it must know: the ``news`` of members and authorities, the ``places`` where the gateway is
    reached, the ``hosts`` at which others reach this device, and so on.
    """

    def __init__(
        self,
        page_config: PageConfig,
        home: Path,
        authority: Authority,
        standing: Callable[[], dict[str, Any]],
    ) -> None:
        self.page_config = page_config
        self.authority = authority
        #: the page's own ident, by which the scheduler knows that it may see everything
        self.ident = secrets.token_hex(8)
        self._standing = standing
        #: carries out what people ask for on the page
        self.control_socket: ControlSocket | None = None
        self.refusals: deque[dict[str, Any]] = deque(maxlen=REFUSALS)
        self.links = Links(home / "page" / "links.json", authority.now)
        self.port = 0
        self.fingerprint = ""
        #: the socket of Dask's own dashboard; an empty text when it is off
        self.dask = ""
        self._sock: socket.socket | None = None
        self._here: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._running: asyncio.Task[None] | None = None
        self._tls_path = home / "page" / "https.json"
        self._shelf = home / wheel_index.DIRECTORY

    # ---- where it is

    @property
    def is_secure(self) -> bool:
        """Say whether it speaks HTTPS itself."""
        return not (self.page_config.proxy or is_loopback(self.host))

    @property
    def host(self) -> str:
        """Return the address to listen on."""
        return self.page_config.listen or (
            LOOPBACK if self.page_config.proxy else self._standing()["listen"] or "0.0.0.0"
        )

    def link(self, token: str) -> str:
        """Return the address that lets somebody in; behind a proxy none that leads past it through the network."""
        named = [name for name in self.page_config.names.replace(" ", "").split(",") if name and "*" not in name]
        if self.page_config.proxy and named:
            return f"https://{named[0]}/login?token={token}"
        found = [] if self.page_config.proxy else self._standing()["hosts"]
        hosts = named + ([] if self.host in ("0.0.0.0", "::") else [self.host]) + found
        host = hosts[0] if hosts else LOOPBACK
        if ":" in host:
            host = f"[{host}]"
        port = self.page_config.published or self.port
        return f"{'https' if self.is_secure else 'http'}://{host}:{port}/login?token={token}"

    def link_here(self, token: str) -> str:
        """Return the address for browsers on this computer, without HTTPS; an empty text if there is none."""
        port = self._here.getsockname()[1] if self._here is not None else 0
        return f"http://{LOOPBACK}:{port}/login?token={token}" if port else ""

    def wants_dask(self) -> bool:
        """Say whether Dask's own dashboard is to be started; without its parts one line says what is missing."""
        has_parts = are_here(DASK_PARTS)
        if self.page_config.dask and not has_parts:
            log.warning(DASK_MISSING)
        return self.page_config.dask and self.page_config.is_wanted and has_parts and is_installed()

    def names(self) -> list[str]:
        """Return the names of this device by which browsers may ask for the page."""
        host = socket.gethostname()
        short = host.partition(".")[0]
        return sorted({host, short, f"{short}.local", *filter(None, map(str.strip, self.page_config.names.split(",")))})

    def refused(self, text: str) -> None:
        """Keep who was refused at the door, and why, for people to read."""
        self.refusals.append({"at": self.authority.now(), "text": text})
        self.tell(refusals=list(self.refusals))

    # ---- running

    def start(self, account: Account | None) -> None:
        """Start it, if it is wanted and can be; the master goes on without it."""
        if not self.page_config.is_wanted:
            return
        if not is_installed():
            log.warning(MISSING)
            return
        try:
            self._sock = bind(self.host, self.page_config.port)
        except OSError as error:
            log.warning(
                f"no page: port {self.page_config.port} cannot be used ({error.strerror}). --page-port takes another."
            )
            return
        self.port = self._sock.getsockname()[1]
        self._open_here()
        self._read_tls()
        self._running = asyncio.create_task(self._run(account))

    def _open_here(self) -> None:
        """Listen on loopback too, where no certificate is needed; in a container nobody has a browser there."""
        if not self.is_secure or discovery.is_container():
            return
        ports = (HERE_PORT, 0) if self.page_config.port == DEFAULT_PORT else (0,)
        for port in ports:
            with contextlib.suppress(OSError):
                self._here = bind(LOOPBACK, port)
                return

    async def _run(self, account: Account | None) -> None:
        pause_s = AGAIN_S
        while True:
            began = time.monotonic()
            try:
                await self._once(account)
            except OSError as error:
                log.error(f"the page cannot start: {error}.")
            pause_s = AGAIN_S if time.monotonic() - began > STEADY_S else min(2 * pause_s, LONGEST_PAUSE_S)
            log.warning(f"the page ended; it starts again in {pause_s:.0f} s.")
            await asyncio.sleep(pause_s)

    async def _once(self, account: Account | None) -> None:
        assert self._sock is not None
        handle = self._sock.fileno()
        handles = [handle] if self._here is None else [handle, self._here.fileno()]
        self._process = await stdio_json.start("octapi.page.process", handles)
        assert self._process.stdout is not None
        self._write(self._start(handle, account))

        answering: set[asyncio.Task[None]] = set()

        def hear(message: dict[str, Any]) -> None:
            if message["kind"] == "ask":
                task = asyncio.create_task(self._reply(message))
                answering.add(task)
                task.add_done_callback(answering.discard)

        await stdio_json.follow(self._process.stdout, hear, log.warning)
        await self._process.wait()

    def _start(self, handle: int, account: Account | None) -> dict[str, Any]:
        standing = self._standing()
        ports = {"clients": standing["places"][0][1]}
        identity = self.authority.identity(CLIENT, "page", ident=self.ident).with_answer({"master": ports})
        start: dict[str, Any] = standing["news"] | {
            "fd": handle,
            "account": account,
            "places": standing["places"],
            "has_keeper": True,
            "log": logs.plain(),
        }
        start |= {"identity": identity.to_json(), "key": self.links.key, "links": self.links.plain()}
        start |= {"cluster": self.authority.state.cluster, "names": self.names(), "proxy": self.page_config.proxy}
        start["proxy_from"] = self.page_config.proxy_from
        start["here"] = None if self._here is None else self._here.fileno()
        start |= {"refusals": list(self.refusals), "dask": self.dask}
        if standing["state"]:
            start["history"] = str(location.database(standing["state"]))
        if self.is_secure:
            start["tls"] = self._read_tls()
        return start

    def _read_tls(self) -> str:
        """Return the certificate for browsers with its key: the one kept, while it is good and its names are ours."""
        if not self.is_secure:
            return ""
        standing, now = self._standing(), self.authority.now()
        names, root = sorted({*self.names(), *standing["hosts"], "localhost"}), self.authority.state.roots[0].ident
        kept = json.loads(files.read(self._tls_path)) if self._tls_path.exists() else {}
        if kept.get("names") != names or kept.get("root") != root or kept["ends"] - now < TLS_LIFE_S / 3:
            ends = now + TLS_LIFE_S
            kept = {"names": names, "root": root, "ends": ends, "pem": self.authority.for_browsers(names, ends)}
            files.write(self._tls_path, json.dumps(kept))
        self.fingerprint = certificates.fingerprint(kept["pem"])
        return str(kept["pem"])

    def _write(self, message: dict[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(stdio_json.to_line(message).encode())

    def tell(self, **news: Any) -> None:
        """Tell the page."""
        self._write({"kind": "news", **news})

    def renew(self) -> None:
        """Give it a new certificate of its own, and new ones for browsers."""
        if not self.port:
            return
        news = {"page_identity": self.authority.identity(CLIENT, "page", ident=self.ident).to_json()}
        if self.is_secure:
            news["tls"] = self._read_tls()
        self.tell(**news)

    # ---- what it asks, and what the owner asks of it

    async def _reply(self, message: dict[str, Any]) -> None:
        answer = self._answer(message)
        if message["op"] == "token-create" and "ok" in answer:
            answer["ok"] |= await asyncio.to_thread(self._install_line, answer["ok"]["token"])
        self._write({"kind": "answer", "number": message["number"], **answer})

    def _install_line(self, token: str) -> dict[str, str]:
        """Return the line with which a device that has only Python joins, or why there is none.

        It makes the wheels that such a device gets, if they are not there yet: that takes some seconds.
        """
        try:
            build_index.pack(self._shelf)
            return {"install": install_command.for_token(token, WORKER)}
        except (OctapiError, OSError) as error:
            return {"no_install": str(error)}

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.control_socket is not None
        try:
            if request["op"] == "remove":
                return {"ok": self.control_socket.do_remove({"name": str(request.get("name"))})}
            if request["op"] == "token-create":
                life_s = min(float(request.get("life_s") or 3600.0), TOKEN_LIFE_S)
                return {
                    "ok": self.control_socket.do_token_create(
                        {"role": WORKER, "life_s": life_s, "uses": request.get("uses")}
                    )
                }
        except (OctapiError, ValueError, TypeError) as error:
            return {"error": type(error).__name__, "text": str(error)}
        return {"error": "TrustError", "text": "The page may not ask for that."}

    def new_link(self, kind: str = ACT, life_s: float = LIFE_S) -> dict[str, Any]:
        """Make a link.  Raises :exc:`TrustError` when there is no page."""
        if not self.port:
            raise TrustError("This master has no page. Start it with --page; if it was, its log says why.")
        token = self.links.new(kind, life_s)
        self.tell(links=self.links.plain())
        found = {"link": self.link(token), "here": self.link_here(token)}
        return found | {"fingerprint": self.fingerprint, "kind": kind}

    def revoke(self, ident: str) -> dict[str, Any]:
        """End links.  Raises :exc:`TrustError` for one that is not there."""
        found = self.links.revoke(ident)
        self.tell(links=self.links.plain())
        return {"revoked": found}

    async def close(self) -> None:
        """End it."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        if self._process is not None and self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await children.reap_soon(self._process, STOP_S)
        for sock in (self._sock, self._here):
            if sock is not None:
                sock.close()
