"""The page's process: started by the master (or by a script, for its own cores), told everything over stdin.

It holds no key but its own client's; it never sees the authority's.  What it asks of the supervisor goes over stdout
(:mod:`octapi.protocol.stdio_json`), and its end is the end of stdin.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from octapi import errors
from octapi.client.endpoint import MasterEndpoint
from octapi.device import files
from octapi.device.accounts import become
from octapi.errors import OctapiError
from octapi.page.app import build
from octapi.page.callers import Callers, Impatient
from octapi.page.feed import GatewayFeed
from octapi.page.history import History
from octapi.page.local_feed import LocalFeed
from octapi.page.login import Gate
from octapi.page.proxies import networks
from octapi.page.site import Site
from octapi.protocol import stdio_json
from octapi.telemetry import logs
from octapi.trust.contexts import Clock, Trust
from octapi.trust.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("octapi.page")

#: how long the supervisor may take to answer, in seconds
ANSWER_S = 10.0
#: how long requests may take to end when the page ends, in seconds
GRACE_S = 1


class SupervisorRpc:
    """The process that started this one, as seen from here."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def ask(self, operation: str, **facts: Any) -> dict[str, Any]:
        """Ask for something.  Raises :exc:`OctapiError` when it is refused."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        stdio_json.tell({"kind": "ask", "number": number, "op": operation, **facts})
        try:
            answer = await asyncio.wait_for(self._waiting[number], ANSWER_S)
        except TimeoutError as error:
            raise OctapiError("The master did not answer in time.") from error
        finally:
            del self._waiting[number]
        if "ok" in answer:
            found: dict[str, Any] = answer["ok"]
            return found
        raise errors.by_name(answer.get("error"), OctapiError)(answer["text"])

    def answer(self, message: dict[str, Any]) -> None:
        """Take an answer."""
        future = self._waiting.get(message["number"])
        if future is not None and not future.done():
            future.set_result(message)


class Secured:
    """The way to a master that knows this process by a certificate."""

    def __init__(self, start: dict[str, Any], clock: Clock) -> None:
        self._places = [(host, port) for host, port in start["places"]]
        self._insecure = not start.get("identity")
        self._clock = clock
        self.trust: Trust | None = None
        if start.get("identity"):
            self.trust = Trust(Identity.from_json(start["identity"]), clock, start.get("removed", ()))

    def way(self) -> MasterEndpoint:
        """Return the way."""
        return MasterEndpoint(self._places, self.trust, insecure=self._insecure)

    def take(self, news: dict[str, Any]) -> None:
        """Take the supervisor's news of trust."""
        if self.trust is None:
            return
        if "page_identity" in news:
            self.trust.renew(Identity.from_json(news["page_identity"]))
        if "authorities" in news:
            self.trust.accept(news["authorities"])


def listener(start: dict[str, Any]) -> socket.socket:
    """Return the socket that was opened for this process, or open one on this computer's loopback."""
    if start.get("fd") is not None:
        return socket.socket(fileno=start["fd"])
    found = socket.socket(socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((start["host"], start["port"]))
    found.listen(128)
    return found


def tls_context(pem: str) -> ssl.SSLContext:
    """Return what HTTPS is spoken with; ``pem`` holds the certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load(context, pem)
    return context


def load(context: ssl.SSLContext, pem: str) -> None:
    """Show a certificate from now on."""
    with files.passing(pem) as path:
        context.load_cert_chain(path)


class Server(uvicorn.Server):
    """A web server that sleeps while nobody asks; uvicorn's own wakes ten times a second.

    It lets :class:`Callers` take the connections: uvicorn's own lets strangers hold all of them for nothing.  ``here``
    is a socket on loopback where it speaks HTTP.
    """

    def __init__(self, config: uvicorn.Config, is_proxy: Callable[[str], bool], here: socket.socket | None) -> None:
        super().__init__(config)
        self._end = asyncio.Event()
        self._callers = Callers(self._protocol, is_proxy, log.warning, config.ssl)
        self._here = here
        self._neighbours = Callers(self._protocol, is_proxy, log.warning)
        self._serving: list[asyncio.Task[Any]] = []

    def _protocol(self) -> asyncio.Protocol:
        return Impatient(self.config, self.server_state, self.lifespan.state)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections."""
        self.servers = []
        self._serving = [asyncio.create_task(self._callers.serve(sock)) for sock in sockets or []]
        if self._here is not None:
            self._serving.append(asyncio.create_task(self._neighbours.serve(self._here)))
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, and end those there are."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave signals alone: the end is that of stdin."""
        yield

    async def main_loop(self) -> None:
        """Wait for the end."""
        await self.on_tick(0)
        await self._end.wait()

    def end(self) -> None:
        """Stop serving."""
        self.should_exit = True
        self._end.set()


def server_of(site: Site, context: ssl.SSLContext | None, here: socket.socket | None = None) -> Server:
    """Return the web server."""
    config = uvicorn.Config(
        build(site),
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        lifespan="off",
        http=Impatient,
        ws="auto" if site.dask else "none",
        timeout_graceful_shutdown=GRACE_S,
    )
    logs.adopt("uvicorn")
    config.load()
    config.ssl = context
    return Server(config, site.is_proxy, here)


class Page:
    """The page's process: the site, and the lines of the supervisor."""

    def __init__(self, start: dict[str, Any]) -> None:
        clock = Clock()
        if start.get("time"):
            clock.set(start["time"])
        self._keeper = SupervisorRpc()
        self._secured = Secured(start, clock) if start.get("places") else None
        self._context = tls_context(start["tls"]) if start.get("tls") else None
        self._here = socket.socket(fileno=start["here"]) if start.get("here") is not None else None
        gate = Gate(start["key"], start["links"], clock.now, log.warning)
        self.site = Site(
            gate,
            cluster=start.get("cluster", ""),
            names=start.get("names", []),
            proxy=bool(start.get("proxy")),
            proxy_from=networks(start.get("proxy_from", "")),
            members=start.get("roster", []),
            refusals=start.get("refusals", []),
            history=History(Path(start["history"])) if start.get("history") else None,
            dask=start.get("dask", ""),
            is_local=not start.get("has_keeper"),
            is_secure=self._context is not None,
        )
        if start.get("has_keeper"):
            self.site.ask_keeper = self._keeper.ask
        self._local: LocalFeed | None = None

    def open_feed(self) -> None:
        """Make the feed, in the loop."""
        if self._secured is None:
            self._local = LocalFeed()
            self.site.feed = self._local
        else:
            self.site.feed = GatewayFeed(
                self._secured.way, self.site.take, lambda text: self.site.lost(time.time(), text)
            )

    def take(self, message: dict[str, Any]) -> None:
        """Take one line of the supervisor."""
        kind = message.get("kind")
        if kind == "answer":
            self._keeper.answer(message)
        elif kind == "frame":
            self.site.take(message["frame"])
            if self._local is not None:
                self._local.ready.set()
        elif kind == "news":
            self._take_news(message)

    def _take_news(self, news: dict[str, Any]) -> None:
        if self._secured is not None:
            self._secured.take(news)
        if "links" in news:
            self.site.gate.replace(news["links"])
        if "roster" in news:
            self.site.members = news["roster"]
        if "refusals" in news:
            self.site.refusals = news["refusals"]
        if "tls" in news and self._context is not None:
            load(self._context, news["tls"])

    async def run(self, sock: socket.socket, on_ready: Callable[[], None]) -> None:
        """Serve until the supervisor is gone."""
        self.open_feed()
        server = server_of(self.site, self._context, self._here)
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        following = asyncio.create_task(stdio_json.follow(await stdio_json.stdin(), self.take, log.warning))
        on_ready()
        await asyncio.wait((serving, following), return_when=asyncio.FIRST_COMPLETED)
        server.end()
        await self.site.feed.close()
        following.cancel()
        await asyncio.gather(serving, following, return_exceptions=True)


def main() -> None:
    """Be the page, as the process on the other end of stdin says."""
    start = stdio_json.read_first()
    logs.set_up("octapi page", logs.options_of(start))
    sock = listener(start)
    page = Page(start)
    become(start.get("account"))
    port = sock.getsockname()[1]
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(page.run(sock, lambda: stdio_json.tell({"kind": "ready", "port": port})))


if __name__ == "__main__":
    main()
