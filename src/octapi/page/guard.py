"""What stands before every request: names of hosts, logins, forged requests, and the headers of every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from octapi.errors import TooManyAttempts
from octapi.page import login
from octapi.page.proxies import is_believed

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from octapi.page.links import Link
    from octapi.page.site import Site

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
#: what anybody may have: the page that asks for a login, and what it looks like
OPEN: Final = ("/", "/login", "/static/")
SAFE: Final = ("GET", "HEAD")


def problem(status: int, text: str, **headers: str) -> JSONResponse:
    """Return an error as JSON."""
    return JSONResponse({"error": text}, status, headers)


def address_of(request: Request, site: Site) -> str:
    """Return where a request comes from."""
    peer = peer_of(request)
    if site.is_proxy(peer):
        forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        if forwarded:
            return forwarded[:64]
    return peer


def peer_of(request: Request) -> str:
    """Return who is at the other end of the connection, which may be a proxy."""
    return request.client.host if request.client is not None else "?"


def is_here(request: Request, site: Site) -> bool:
    """Say whether a request came to the socket on loopback that a page with HTTPS has beside."""
    return site.is_secure and request.url.scheme in ("http", "ws")


def is_secure(request: Request, site: Site) -> bool:
    """Say whether the browser speaks HTTPS."""
    forwarded = request.headers.get("x-forwarded-proto", "") if site.is_proxy(peer_of(request)) else ""
    return (forwarded or request.url.scheme) in ("https", "wss")


def link_of(request: Request, site: Site) -> tuple[Link | None, bool]:
    """Return by which link a request comes, and whether it said so with a token.  Raises :exc:`TooManyAttempts`."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return site.gate.by_token(token.strip(), address_of(request, site)), True
    is_https = is_secure(request, site)
    return site.gate.by_cookie(request.cookies.get(login.cookie_name(is_https), ""), is_https), False


class Guard:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on with its ``link``."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {key.lower() for key, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in known]
                if b"cache-control" not in known:
                    more.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *more]
            await send(message)

        refused = self._refusal(scope)
        if refused is None:
            await self._app(scope, receive, answer)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403})
        else:
            await refused(scope, receive, answer)

    def _refusal(self, scope: Scope) -> Response | None:
        request = Request({**scope, "type": "http", "method": scope.get("method", "GET")})
        host = request.headers.get("host", "")
        if is_here(request, self._site):
            if not (login.is_loopback_name(host) and is_believed(peer_of(request), [])):
                return problem(421, "Without HTTPS this page is for this computer alone, as 127.0.0.1 or localhost.")
        elif not login.is_own_name(host, self._site.names):
            return problem(421, f"This page does not go by the name {host[:80]!r}. Set OCTAPI_PAGE_NAMES to allow it.")
        try:
            link, is_bearer = link_of(request, self._site)
        except TooManyAttempts as error:
            return problem(429, str(error), **{"retry-after": f"{error.wait_s:.0f}"})
        scope["link"] = link
        path = scope["path"]
        if link is None:
            if is_bearer or not (path in OPEN or path.startswith("/static/")):
                return problem(401, "Log in first: 'octapi page' on the master prints a link.")
            return None
        if scope["type"] == "websocket":
            why = login.is_forged({**request.headers, login.HEADER: "1"}, host)
        else:
            why = "" if is_bearer or request.method in SAFE else login.is_forged(request.headers, host)
        return problem(403, f"This request is not from this page. {why}") if why else None
