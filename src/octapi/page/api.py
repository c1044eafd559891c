"""/api/v1: what the page shows, for programs, and what it can do.  ``openapi.py`` describes it."""

from __future__ import annotations

import json
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from octapi import _version
from octapi.errors import OctapiError
from octapi.page import devices, openapi
from octapi.page.guard import problem
from octapi.page.history import told
from octapi.page.login import may_act
from octapi.protocol import client_messages as said
from octapi.telemetry.exposition import CONTENT_TYPE
from octapi.telemetry.run_trace import without_words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from octapi.page.site import Site

    Handler = Callable[[Request], Awaitable[Response]]

BASE: Final = "/api/v1"
PAGE: Final = 50
MOST: Final = 500
#: workers of a run whose course is told, and the time before and after the run that belongs to it, in seconds
COURSES: Final = 12
MARGIN_S: Final = 40.0
#: what is the course of a device now, in seconds
LATELY_S: Final = 1800.0
#: the longest request, in bytes
LIMIT: Final = 4096


def number(request: Request, name: str, usual: int, most: int) -> int:
    """Return a number of the query.  Raises ValueError for anything else."""
    text = request.query_params.get(name, "")
    if not text:
        return usual
    if not (text.isascii() and text.isdigit()) or not 0 <= int(text) <= most:
        raise ValueError(f"{name} must be a number from 0 to {most}.")
    return int(text)


async def body(request: Request) -> dict[str, Any]:
    """Return the request's JSON object.  Raises ValueError for anything else."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > LIMIT:
            raise ValueError(f"The request is longer than {LIMIT} bytes.")
    found = json.loads(data or b"{}")
    if not isinstance(found, dict):
        raise ValueError("The request is not a JSON object.")
    return found


def acting(handler: Handler) -> Handler:
    """Let only those do it whose link lets them act; turn what goes wrong into answers."""

    @wraps(handler)
    async def checked(request: Request) -> Response:
        if not may_act(request.scope["link"]):
            return problem(403, "This link is to look only. 'octapi page' on the master prints one that may act.")
        try:
            return await handler(request)
        except (ValueError, RecursionError) as error:
            return problem(400, str(error))
        except OctapiError as error:
            return problem(409, str(error))

    return checked


class Answer(JSONResponse):
    """JSON, whatever is in it: one number that is none must not take everything else from everybody."""

    def render(self, content: object) -> bytes:
        """Return the bytes; what is no number is null."""
        try:
            return super().render(content)
        except ValueError:
            return super().render(json.loads(json.dumps(content), parse_constant=lambda _: None))


class Reading:
    """The requests that change nothing."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def me(self, request: Request) -> Response:
        """Return who asks, and what this page is."""
        site, link = self._site, request.scope["link"]
        facts = {"kind": link.kind, "link": link.ident, "cluster": site.cluster, "release": _version.__version__}
        facts |= {"has_history": site.history is not None, "is_local": site.is_local, "has_dask": bool(site.dask)}
        return Answer(facts)

    async def openapi(self, _: Request) -> Response:
        """Return the description of this interface."""
        return Answer(openapi.describe())

    async def state(self, _: Request) -> Response:
        """Return everything the page starts with."""
        await self._site.feed.fresh()
        return Answer(self._site.model.snapshot())

    async def workers(self, _: Request) -> Response:
        """Return the workers that are here."""
        await self._site.feed.fresh()
        return Answer({"workers": list(self._site.model.workers.values())})

    async def runs(self, request: Request) -> Response:
        """Return runs, the latest first: those that the master has in mind, and those in its database."""
        try:
            limit, start = number(request, "limit", PAGE, MOST), number(request, "start", 0, 10**9)
        except ValueError as error:
            return problem(400, str(error))
        await self._site.feed.fresh()
        rows = list(self._site.model.runs.values())
        if self._site.history is not None:
            known = {row["run"] for row in rows}
            rows += [row for row in await self._site.history.runs() if row["run"] not in known]
        word = request.query_params.get("search", "").lower()
        rows = [row for row in rows if word in searchable(row)]
        rows.sort(key=lambda row: (row["ended"] is None, row["since"] or 0), reverse=True)
        return Answer({"runs": rows[start : start + limit], "total": len(rows)})

    async def run(self, request: Request) -> Response:
        """Return one run with its story; whoever may only look gets no output, arguments and tracebacks."""
        name = request.path_params["run"]
        await self._site.feed.fresh()
        row, story = self._site.model.runs.get(name), self._site.model.story(name)
        if row is not None and story is not None:
            found: dict[str, Any] | None = row | {"story": story.plain()}
        else:
            found = await self._site.history.run(name) if self._site.history is not None else None
        if found is None:
            return problem(404, "There is no such run.")
        if not may_act(request.scope["link"]) and found.get("story"):
            found["story"] = without_words(found["story"])
        return Answer(found)

    async def devices(self, _: Request) -> Response:
        """Return all members, here or not, and who was refused."""
        await self._site.feed.fresh()
        rows = devices.table(self._site.model, self._site.members)
        return Answer({"devices": rows, "refusals": self._site.refusals})

    async def health(self, request: Request) -> Response:
        """Return how a device was over time."""
        if self._site.history is None:
            return problem(404, "This page has no history.")
        name, now = request.path_params["name"], self._site.model.now
        lately = await self._courses([name], now - LATELY_S, now + LATELY_S) if now else {}
        return Answer(await self._site.history.health(name) | {"lately": lately.get(name, [])})

    async def courses(self, request: Request) -> Response:
        """Return load and memory of the workers of a run while it ran: those with most jobs, as finely as is known."""
        name = request.path_params["run"]
        await self._site.feed.fresh()
        story = self._site.model.story(name)
        if story is None and self._site.history is not None:
            found = await self._site.history.run(name)
            story = told(found["story"]) if found is not None else None
        if story is None:
            return problem(404, "There is no such run.")
        first, last = (story.first or story.began) - MARGIN_S, (story.last or story.began) + MARGIN_S
        names = sorted(story.workers, key=lambda worker: -story.workers[worker].jobs)[:COURSES]
        return Answer({"courses": await self._courses(names, first, last)})

    async def _courses(self, names: list[str], first: float, last: float) -> dict[str, list[list[float | None]]]:
        try:
            lately: dict[str, Any] = await self._site.feed.ask(said.Courses(names))
        except OctapiError:  # the cluster of one script, or a master that does not answer now
            lately = {}
        history = self._site.history
        before = await history.courses(names, first, last) if history is not None else {}
        found = {}
        for name in names:
            fine = [row for row in lately.get(name, ()) if first <= row[0] <= last]
            coarse = [row for row in before.get(name, ()) if not fine or row[0] < fine[0][0]]
            found[name] = coarse + fine
        return {name: rows for name, rows in found.items() if rows}

    async def metrics(self, _: Request) -> Response:
        """Return the master's metrics for Prometheus."""
        try:
            found = await self._site.feed.ask(said.Metrics())
        except OctapiError as error:
            return problem(503, str(error))
        return Response(found, media_type=CONTENT_TYPE)

    async def events(self, request: Request) -> Response:
        """Return the stream of state."""
        from octapi.page.events import MOST as READERS

        site, link = self._site, request.scope["link"]
        if len(site.hub.readers) >= READERS:
            return problem(503, f"There are {READERS} readers already.")
        run = request.query_params.get("run", "")[:80]

        async def stream() -> Any:
            with site.feed.looking():
                async for data in site.hub.read(run, lambda: site.gate.is_known(link), may_act(link)):
                    yield data

        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)


class Acting:
    """The requests that change something."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def stop_run(self, request: Request) -> Response:
        """Stop all jobs of a run."""
        row = await self._row(request)
        return Answer({"stopped": bool(await self._site.feed.ask(said.Stop(row["number"])))})

    async def stop_job(self, request: Request) -> Response:
        """Stop the job that runs on a slot: ``worker`` and ``batch`` as its light says."""
        row, facts = await self._row(request), await body(request)
        batch = facts.get("batch")
        if not isinstance(batch, int) or isinstance(batch, bool) or not 0 <= batch < 1 << 53:
            raise ValueError("batch must be a number: the third part of a light.")
        return Answer({"stopped": bool(await self._site.feed.ask(said.StopJob(row["number"], batch)))})

    async def _row(self, request: Request) -> dict[str, Any]:
        await self._site.feed.fresh()
        row = self._site.model.runs.get(request.path_params["run"])
        if row is None or row["ended"] is not None:
            raise OctapiError("No such run goes on now.")
        return row

    async def remove(self, request: Request) -> Response:
        """Remove a device for good."""
        name = request.path_params["name"]
        await self._site.ask_keeper("remove", name=name)
        return Answer({"removed": name})

    async def drain(self, request: Request) -> Response:
        """Let a worker finish what it has, and give it nothing new."""
        return await self._drain(request, True)

    async def resume(self, request: Request) -> Response:
        """Give a worker jobs again."""
        return await self._drain(request, False)

    async def _drain(self, request: Request, is_drained: bool) -> Response:
        name = request.path_params["name"]
        await self._site.feed.fresh()
        if name not in self._site.model.workers:
            raise OctapiError("There is no such worker here now.")
        await self._site.feed.ask(said.Drain(name, is_drained))
        return Answer({"drained": is_drained})

    async def join(self, request: Request) -> Response:
        """Make a token for one more device, and return the line for it with its QR code."""
        facts = await body(request)
        uses, life_s = facts.get("uses", 1), facts.get("life_s", 3600)
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in (uses, life_s)):
            raise ValueError("uses and life_s must be whole numbers.")
        if not (0 <= uses <= 1000 and 60 <= life_s <= 7 * 86400):
            raise ValueError("uses must be from 0 (any number) to 1000, life_s from 60 to 604800.")
        found = await self._site.ask_keeper("token-create", uses=uses or None, life_s=float(life_s))
        line = f"octapi worker {found['token']}"
        facts = {"line": line, "ident": found["ident"], "qr": devices.qr_code(line), "life_s": life_s}
        facts |= {key: found[key] for key in ("install", "no_install") if key in found}
        return Answer(facts | {"compose": COMPOSE.format(found["token"])})


#: the line for a computer with Docker and this repository
COMPOSE = "OCTAPI_TOKEN={} OCTAPI_NAME=NAME docker compose -f deploy/worker.yaml up -d"


def searchable(row: dict[str, Any]) -> str:
    """Return what a search looks at."""
    words = (row.get("script"), row.get("user"), row.get("host"), row.get("run"), *(row.get("functions") or ()))
    return " ".join(str(word) for word in words if word).lower()


def routes(site: Site) -> list[Route]:
    """Return what to route where."""
    reading, doing = Reading(site), Acting(site)
    gets: dict[str, Handler] = {
        "/me": reading.me,
        "/openapi.json": reading.openapi,
        "/state": reading.state,
        "/workers": reading.workers,
        "/runs": reading.runs,
        "/runs/{run}": reading.run,
        "/runs/{run}/courses": reading.courses,
        "/devices": reading.devices,
        "/devices/{name}/health": reading.health,
        "/events": reading.events,
    }
    posts: dict[str, Handler] = {
        "/runs/{run}/stop": doing.stop_run,
        "/runs/{run}/jobs/stop": doing.stop_job,
        "/workers/{name}/remove": doing.remove,
        "/workers/{name}/drain": doing.drain,
        "/workers/{name}/resume": doing.resume,
        "/join": doing.join,
    }
    found = [Route(BASE + path, handler, methods=["GET"]) for path, handler in gets.items()]
    found.append(Route("/metrics", reading.metrics, methods=["GET"]))
    return found + [Route(BASE + path, acting(handler), methods=["POST"]) for path, handler in posts.items()]
