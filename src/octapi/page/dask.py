"""Dask's own dashboard behind the page's login: passed on from a socket that nobody else can open.

Its pages are Dask's and bring scripts of their own into this origin, and they show names that jobs chose.  So only a
link to look only opens them: nothing that runs in them can act.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from websockets.asyncio.client import unix_connect
from websockets.exceptions import WebSocketException

from octapi.page.guard import problem
from octapi.page.login import may_act

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from octapi.page.site import Site

POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
LOOK_ONLY: Final = (
    "Dask's dashboard opens with a link to look only: 'octapi page --view' prints one. Its pages are not OctaPi's own, "
    "and nothing in them shall be able to act."
)
LIMIT: Final = 64 << 20
ANSWER_S: Final = 30.0
#: headers of Dask's answers that are passed on
PASSED: Final = ("content-type", "etag", "location", "cache-control")


async def fetch(place: str, target: str) -> Response:
    """Ask Dask's web server.  HTTP/1.0, so that the answer ends with the connection."""
    reader, writer = await asyncio.open_unix_connection(place, limit=LIMIT)
    try:
        writer.write(f"GET {target} HTTP/1.0\r\nhost: localhost\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
        body = await asyncio.wait_for(reader.read(-1), ANSWER_S)
    finally:
        writer.close()
    first, *lines = head.decode("latin-1").split("\r\n")
    found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    headers = {name: found[name] for name in PASSED if name in found} | {"content-security-policy": POLICY}
    return Response(body, int(first.split()[1]), headers)


def routes(site: Site) -> list[BaseRoute]:
    """Return what to route where."""

    async def page(request: Request) -> Response:
        if may_act(request.scope["link"]):
            return problem(403, LOOK_ONLY)
        target = request.scope["raw_path"].decode("latin-1")
        query = request.scope["query_string"].decode("latin-1")
        try:
            return await fetch(site.dask, f"{target}?{query}" if query else target)
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError):
            return problem(502, "Dask's dashboard does not answer.")

    async def stream(socket: WebSocket) -> None:
        if may_act(socket.scope["link"]):
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
