"""Dask's own dashboard behind the page's login: passed on from a socket that nobody else can open.

Its pages are Dask's: they show keys, which may hold arguments, and names that jobs chose, so a link to look only opens
none of them; and they bring scripts of their own into this origin, so they get a sandbox in which nothing can act: it
opens no windows and no frames, and asks for nothing outside of ``/dask/``.  Only pages of :data:`PAGES` are passed on:
others show tracebacks and arguments of tasks, or reach further, as Dask's own proxy does.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from websockets.asyncio.client import unix_connect
from websockets.exceptions import WebSocketException

from octapi.page.guard import is_secure, problem
from octapi.page.login import may_act
from octapi.protocol.small_http import get

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from octapi.page.site import Site

#: ``{here}`` are the addresses below which everything must lie
POLICY: Final = (
    "sandbox allow-scripts allow-same-origin; default-src 'none'; script-src {here} 'unsafe-inline' 'unsafe-eval'; "
    "style-src {here} 'unsafe-inline'; font-src {here} data:; img-src {here} data:; connect-src {here}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: the first part of what is passed on, below /dask/
PAGES: Final = frozenset(
    "status workers tasks system graph groups memory statics static individual-task-stream individual-progress "
    "individual-graph individual-groups individual-nbytes individual-cpu individual-workers individual-bandwidth-types "
    "individual-bandwidth-workers individual-workers-memory individual-cluster-memory individual-compute-time-per-key "
    "individual-aggregate-time-per-action individual-scheduler-system individual-event-loop "
    "individual-workers-cpu-timeseries individual-workers-disk-timeseries individual-workers-memory-timeseries "
    "individual-workers-network-timeseries".split()
)
LOOK_ONLY: Final = (
    "Dask's dashboard does not open with a link to look only: its pages show arguments of tasks. 'octapi page' on the "
    "master prints a link that opens it."
)
NOT_PASSED: Final = (
    "This page of Dask's dashboard is not passed on: it shows tracebacks or arguments, or reaches further."
)
#: hosts, with a port or without, that may stand in a policy
HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?")
LIMIT: Final = 64 << 20
ANSWER_S: Final = 30.0
#: headers of Dask's answers that are passed on
PASSED: Final = ("content-type", "etag", "location", "cache-control")


def policy_for(host: str, *, is_secure: bool) -> str:
    """Return the policy for pages that a browser has from ``host``."""
    if not HOST.fullmatch(host):
        return POLICY.format(here="'none'")
    schemes = ("https", "wss") if is_secure else ("http", "ws")
    return POLICY.format(here=" ".join(f"{scheme}://{host}/dask/" for scheme in schemes))


def may_pass(path: str) -> bool:
    """Say whether a page, by its path below ``/dask/``, is passed on."""
    first, *rest = path.split("/")
    return first in PAGES and not any(part in ("..", ".") for part in rest)


async def fetch(place: str, target: str, policy: str) -> Response:
    """Ask Dask's web server.  Raises OSError, EOFError, TimeoutError and ValueError when it does not answer well."""
    reader, writer = await asyncio.open_unix_connection(place, limit=LIMIT)
    found = await asyncio.wait_for(get(reader, writer, target, "localhost", LIMIT), ANSWER_S)
    headers = {name: found.headers[name] for name in PASSED if name in found.headers}
    return Response(found.body, found.status, headers | {"content-security-policy": policy})


def routes(site: Site) -> list[BaseRoute]:
    """Return what to route where."""

    async def page(request: Request) -> Response:
        if not may_act(request.scope["link"]):
            return problem(403, LOOK_ONLY)
        if not may_pass(request.path_params["path"]):
            return problem(404, NOT_PASSED)
        policy = policy_for(request.headers.get("host", ""), is_secure=is_secure(request, site))
        target = request.scope["raw_path"].decode("latin-1")
        query = request.scope["query_string"].decode("latin-1")
        try:
            return await fetch(site.dask, f"{target}?{query}" if query else target, policy)
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError):
            return problem(502, "Dask's dashboard does not answer.")

    async def stream(socket: WebSocket) -> None:
        if not (may_act(socket.scope["link"]) and may_pass(socket.path_params["path"])):
            await socket.close(4403)
            return
        with contextlib.suppress(OSError, WebSocketException):
            await tunnel(socket, site.dask)

    return [Route("/dask/{path:path}", page, methods=["GET"]), WebSocketRoute("/dask/{path:path}", stream)]


async def tunnel(socket: WebSocket, place: str) -> None:
    """Pass messages on in both directions until one side ends."""
    protocols: list[Any] = list(socket.scope.get("subprotocols") or ())
    query = socket.scope["query_string"].decode("latin-1")
    uri = f"ws://localhost{socket.scope['path']}" + (f"?{query}" if query else "")
    async with unix_connect(place, uri, subprotocols=protocols, max_size=LIMIT) as other:
        await socket.accept(subprotocol=other.subprotocol)

        async def up() -> None:
            while True:
                message = await socket.receive()
                if message["type"] != "websocket.receive":
                    return
                data = message.get("bytes")
                await other.send(message["text"] if data is None else data)

        async def down() -> None:
            async for message in other:
                await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))

        tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
