"""The application: pages, logins, and everything else in its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from octapi.errors import TooManyAttempts
from octapi.page import api, login
from octapi.page.guard import Guard, address_of, is_secure, problem
from octapi.page.links import STAY_S

if TYPE_CHECKING:
    from starlette.requests import Request

    from octapi.page.links import Link
    from octapi.page.site import Site

STATIC: Final = Path(__file__).parent / "static"
#: files may be kept by browsers, which ask whether they have changed
FRESH: Final = {"cache-control": "no-cache"}


class Files(StaticFiles):
    """The static files; browsers ask each time whether they have changed."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """Answer with a file."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["cache-control"] = FRESH["cache-control"]
        return response


def build(site: Site) -> Starlette:
    """Put the application together."""

    async def home(request: Request) -> Response:
        name = "index.html" if request.scope["link"] is not None else "login.html"
        return FileResponse(STATIC / name, headers=FRESH)

    async def enter(request: Request) -> Response:
        return enter_by(request, site)

    async def leave(request: Request) -> Response:
        response = JSONResponse({})
        response.delete_cookie(login.cookie_name(is_secure(request, site)), path="/", httponly=True, samesite="strict")
        return response

    routes: list[BaseRoute] = [
        Route("/", home),
        Route("/login", enter),
        Route("/logout", leave, methods=["POST"]),
        Mount("/static", Files(directory=STATIC)),
        *api.routes(site),
    ]
    if site.dask:
        from octapi.page import dask

        routes.extend(dask.routes(site))
    return Starlette(routes=routes, middleware=[Middleware(Guard, site=site)])


def enter_by(request: Request, site: Site) -> Response:
    """Exchange a link's token for a cookie, and leave the address that holds it."""
    try:
        link = site.gate.by_token(request.query_params.get("token", ""), address_of(request, site))
    except TooManyAttempts as error:
        return problem(429, str(error), **{"retry-after": f"{error.wait_s:.0f}"})
    if link is None:
        return FileResponse(STATIC / "login.html", 401)
    response = RedirectResponse("./", 303)
    set_cookie(response, site, request, link)
    return response


def set_cookie(response: Response, site: Site, request: Request, link: Link) -> None:
    """Let a browser stay logged in."""
    is_https = is_secure(request, site)
    response.set_cookie(
        login.cookie_name(is_https),
        site.gate.cookie(link, is_https),
        max_age=int(STAY_S),
        path="/",
        secure=is_https,
        httponly=True,
        samesite="strict",
    )
