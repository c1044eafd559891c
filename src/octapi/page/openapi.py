"""The OpenAPI description of /api/v1."""

from __future__ import annotations

from typing import Any

from octapi import _version

Schema = dict[str, Any]


def of(kind: str, **more: object) -> Schema:
    """Return a schema of one type."""
    return {"type": kind, **more}


def maybe(kind: str) -> Schema:
    """Return a schema of a type or null."""
    return {"type": [kind, "null"]}


def record(required: str, **properties: Schema) -> Schema:
    """Return a schema of an object; more properties may come with later releases."""
    return of("object", required=required.split(), properties=properties)


def listed(item: Schema) -> Schema:
    """Return a schema of a list."""
    return of("array", items=item)


def named(name: str) -> Schema:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


TEXT, NUMBER, WHOLE, TRUTH = of("string"), of("number"), of("integer"), of("boolean")

SCHEMAS: dict[str, Schema] = {
    "Error": record("error", error=TEXT),
    "Me": record("kind link cluster release", kind=of("string", enum=["look", "act"]), link=TEXT, cluster=TEXT),
    "Badge": of("array", items=TEXT, minItems=3, maxItems=3, description="Level, kind and words."),
    "Light": of("array", description="A busy slot: its run, its function, the number of its batch."),
    "Worker": record(
        "name slots lights badges",
        name=TEXT,
        slots=WHOLE,
        lights=listed(named("Light")),
        badges=listed(named("Badge")),
        health=maybe("object"),
        joined=maybe("number"),
        heard=maybe("number"),
    ),
    "Run": record(
        "run script since ended waiting running done failed cancelled busy_s wall_s",
        run=TEXT,
        script=maybe("string"),
        since=maybe("number"),
        ended=maybe("number"),
        waiting=WHOLE,
        running=WHOLE,
        done=WHOLE,
        failed=WHOLE,
        cancelled=WHOLE,
        retried=WHOLE,
        busy_s=NUMBER,
        wall_s=NUMBER,
        speedup=maybe("number"),
        efficiency=maybe("number"),
        eta_s=maybe("number"),
        sentence=TEXT,
    ),
    "Story": record(
        "workers functions buckets causes pieces output width_s",
        workers=listed(of("array")),
        functions=listed(of("array")),
        buckets=listed(of("array")),
        causes=listed(of("object")),
        pieces=listed(of("array")),
        output=listed(listed(TEXT)),
        width_s=NUMBER,
    ),
    "Device": record("name online role", name=TEXT, online=TRUTH, role=TEXT, since=maybe("number")),
}
SCHEMAS["RunWithStory"] = {"allOf": [named("Run"), record("story", story=named("Story"))]}


def answer(schema: Schema, text: str) -> Schema:
    """Return what a request answers when all is well."""
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def refusals(*statuses: int) -> dict[str, Schema]:
    """Return what a request answers when it is refused."""
    words = {
        400: "The request is wrong.",
        401: "No login, or a wrong one.",
        403: "This link is to look only, or the request is forged.",
        404: "There is none.",
        409: "It cannot be done now; the text says why.",
        429: "Too many wrong tokens.",
        503: "Too many readers.",
    }
    return {str(status): answer(named("Error"), words[status]) for status in (401, 429, *statuses)}


def get(text: str, schema: Schema, *parameters: Schema, refused: tuple[int, ...] = ()) -> Schema:
    """Describe a request that reads."""
    responses = {"200": answer(schema, text), **refusals(*refused)}
    return {"get": {"summary": text, "parameters": list(parameters), "responses": responses}}


def post(text: str, schema: Schema, *parameters: Schema, body: Schema | None = None) -> Schema:
    """Describe a request that changes something."""
    responses = {"200": answer(schema, text), **refusals(400, 403, 409)}
    found: Schema = {"summary": text, "parameters": list(parameters), "responses": responses}
    if body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return {"post": found}


def query(name: str, schema: Schema, text: str) -> Schema:
    """Describe a parameter after the question mark."""
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}


def path(name: str) -> Schema:
    """Describe a parameter in the path."""
    return {"name": name, "in": "path", "required": True, "schema": of("string", minLength=1)}


def paths() -> dict[str, Schema]:
    """Describe all requests."""
    limit = query("limit", of("integer", minimum=0, maximum=500), "How many.")
    start = query("start", of("integer", minimum=0, maximum=10**9), "How many to leave out.")
    search = query("search", TEXT, "Words in script, user, host, function.")
    runs = record("runs total", runs=listed(named("Run")), total=WHOLE)
    batch = of("object", required=["batch"], properties={"batch": of("integer", minimum=0, maximum=(1 << 53) - 1)})
    token = of(
        "object",
        properties={
            "uses": of("integer", minimum=0, maximum=1000),
            "life_s": of("integer", minimum=60, maximum=604800),
        },
    )
    stopped = record("stopped", stopped=TRUTH)
    drained = record("drained", drained=TRUTH)
    line = record(
        "line ident qr compose", line=TEXT, ident=TEXT, qr=listed(TEXT), compose=TEXT, install=TEXT, no_install=TEXT
    )
    workers = record("workers", workers=listed(named("Worker")))
    devices = record("devices refusals", devices=listed(named("Device")), refusals=listed(of("object")))
    course = listed(of("array", description="Epoch seconds, load and used memory in percent."))
    health = record("health events lately", health=listed(of("object")), events=listed(of("object")), lately=course)
    courses = record("courses", courses=of("object", additionalProperties=course))
    return {
        "/me": get("Who asks, and what this page is", named("Me")),
        "/openapi.json": get("This description", of("object")),
        "/state": get("Everything the page starts with", of("object")),
        "/workers": get("The workers that are here", workers),
        "/runs": get("Runs, the latest first", runs, limit, start, search, refused=(400,)),
        "/runs/{run}": get("One run with its story", named("RunWithStory"), path("run"), refused=(404,)),
        "/runs/{run}/courses": get("Load and memory of its workers meanwhile", courses, path("run"), refused=(404,)),
        "/devices": get("All members, and who was refused", devices),
        "/devices/{name}/health": get("How a device was over time", health, path("name"), refused=(404,)),
        "/events": events(),
        "/runs/{run}/stop": post("Stop a run's jobs", stopped, path("run")),
        "/runs/{run}/jobs/stop": post("Stop the job that runs on a slot", stopped, path("run"), body=batch),
        "/workers/{name}/remove": post("Remove a device for good", record("removed", removed=TEXT), path("name")),
        "/workers/{name}/drain": post("Give a worker no new jobs", drained, path("name")),
        "/workers/{name}/resume": post("Give a worker jobs again", drained, path("name")),
        "/join": post("Make the line with which a device joins", line, body=token),
    }


def events() -> Schema:
    """Describe the stream of state."""
    text = "The stream of state: server-sent events 'state' and, for the run asked for, 'story'"
    responses = {
        "200": {"description": text, "content": {"text/event-stream": {"schema": TEXT}}},
        **refusals(503),
    }
    return {"get": {"summary": text, "parameters": [query("run", TEXT, "A run.")], "responses": responses}}


def describe() -> Schema:
    """Return the whole description."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "OctaPi", "version": _version.__version__},
        "servers": [{"url": "/api/v1"}],
        "security": [{"bearer": []}],
        "paths": paths(),
        "components": {"schemas": SCHEMAS, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }
