"""Attacks on the page: by strangers, and by visitors with a link to look only; and devices called like hosts."""

import asyncio
import http.client
import socket
import time

from tests.harness import until
from tests.security.attack_cluster import HOST, Field, Succeeded, must_be_refused
from tests.security.table import attack, expected
from tests.security.well import all_is_well, page


@attack("stranger at the page: a host in half brackets", host=b"[::1")
@attack("stranger at the page: a host that is a bracket", host=b"]")
@attack("stranger at the page: a host with bytes that are no letters", host=b"\xff\xfe")
@attack("stranger at the page: a host of another site", host=b"evil.example")
@attack("stranger at the page: a host of nine thousand letters", host=b"a" * 9000)
async def odd_host(field: Field, host: bytes) -> str:
    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", field.page_port), 10) as sock:
            sock.sendall(b"GET /api/v1/state HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
            found = b""
            while part := sock.recv(65536):
                found += part
            return found

    first = (await asyncio.to_thread(talk)).split(b"\r\n")[0].decode("latin-1")
    if " 4" not in first or "Traceback" in field.master.text():
        raise Succeeded(f"it answered {first}")
    await all_is_well(field)
    return first


@attack("visitor: a request from an origin in half brackets")
async def odd_origin(field: Field) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", field.page_port, timeout=20)
    try:
        connection.request("GET", f"/login?token={field.act}")
        cookie = (connection.getresponse().getheader("set-cookie") or "").partition(";")[0]
    finally:
        connection.close()
    connection = http.client.HTTPConnection("127.0.0.1", field.page_port, timeout=20)
    try:
        headers = {"cookie": cookie, "origin": "http://[", "x-octapi": "1"}
        connection.request("POST", "/api/v1/join", b"{}", headers)
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != 403:
        raise Succeeded(f"it answered {status}")
    return "refused: 403"


@attack("visitor with a link to look: stops a run", path="/api/v1/runs/x/stop")
@attack("visitor with a link to look: stops a job", path="/api/v1/runs/x/jobs/stop")
@attack("visitor with a link to look: removes a device", path="/api/v1/workers/red/remove")
@attack("visitor with a link to look: drains a worker", path="/api/v1/workers/red/drain")
@attack("visitor with a link to look: resumes a worker", path="/api/v1/workers/red/resume")
@attack("visitor with a link to look: makes a token", path="/api/v1/join")
async def looks_only(field: Field, path: str) -> str:
    status, body = await asyncio.to_thread(page, field, path, field.look, "POST")
    if status != 403:
        raise Succeeded(f"it answered {status}: {body[:60]!r}")
    return "refused: 403"


@attack("visitor with a link to look: Dask's pages of tasks", path="/dask/info/main/workers.html")
@attack("visitor with a link to look: Dask's first page", path="/dask/status")
@attack("visitor: Dask's proxy to other hosts", path="/dask/proxy/8787/127.0.0.1/status", acts=True)
@attack("visitor: Dask's pages of tasks", path="/dask/info/main/workers.html", acts=True)
async def dasks_pages(field: Field, path: str, acts: bool = False) -> str:
    status, body = await asyncio.to_thread(page, field, path, field.act if acts else field.look)
    if status not in (403, 404) or (b"OctaPi" in body and status == 200):
        raise Succeeded(f"it answered {status}")
    return f"refused: {status}"


SECRET = "hunter2"
WITH_SECRETS = f"""
import sys
sys.argv.append("script-{SECRET}")
import octapi
def prints(word):
    print("printed-{SECRET}", word)
    kept = "local-{SECRET}"
    raise ValueError("no")
with octapi.Cluster() as cluster:
    cluster.submit(prints, "argument-{SECRET}").exception(60)
    cluster.submit(abs, -1).result(60)
print("RUN", cluster.engine.link.run_id)
"""


def with_secrets(field: Field) -> str:
    """Run a script of ann's whose job has secrets, once; return its run."""
    if not field.run_with_secrets:
        said = field.yard.run("mole", WITH_SECRETS)
        field.run_with_secrets = said.split("RUN ")[1].split()[0]
    return field.run_with_secrets


@attack("visitor with a link to look: looks for a script's arguments and output")
async def looks_for_secrets(field: Field) -> str:
    run = await asyncio.to_thread(with_secrets, field)
    await asyncio.to_thread(
        until, lambda: SECRET.encode() in page(field, f"/api/v1/runs/{run}", field.act)[1]
    )  # so that there is something to find
    paths = ("state", "runs", f"runs/{run}", f"runs/{run}/courses", "devices", "workers", "me", "openapi.json")
    seen = b""
    for path in paths:
        status, body = await asyncio.to_thread(page, field, f"/api/v1/{path}", field.look)
        if status not in (200, 404):
            raise Succeeded(f"{path} answers {status}")
        seen += body
        if SECRET.encode() in body:
            place = body.index(SECRET.encode())
            raise Succeeded(f"{path} tells {body[place - 40 : place + 10]!r}")
    if run.encode() not in seen:
        raise Succeeded("it did not see the run at all, so nothing is shown")
    return "kept from it, and shown to a link that may act"


@attack("visitor with a link to look: looks for output in the stream of news")
async def listens_for_secrets(field: Field) -> str:
    run = await asyncio.to_thread(with_secrets, field)

    def listen() -> bytes:
        with socket.create_connection((HOST, field.page_port), 10) as sock:
            head = (
                f"GET /api/v1/events?run={run} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {field.look}\r\n\r\n"
            )
            sock.sendall(head.encode())
            found = b""
            while found.count(b"event:") < 3 and len(found) < 1 << 22:
                found += sock.recv(65536)
            return found

    said = await asyncio.to_thread(listen)
    if SECRET.encode() in said:
        raise Succeeded(f"it hears {said[said.index(SECRET.encode()) - 40 :][:60]!r}")
    return "kept from it"


@attack("visitor with a link to look: a device with a name of 300 letters", path=f"/api/v1/devices/{'x' * 300}/health")
@attack("visitor with a link to look: a device with a name of control characters", path="/api/v1/devices/%1b%00/health")
@attack("visitor with a link to look: a device whose name is half a letter", path="/api/v1/devices/%ed%a0%80/health")
async def odd_names(field: Field, path: str) -> str:
    """The page would ask the master of it, who would hang up on the page, and so on everybody who looks."""
    before = field.master.text().count("hung up on a client")
    status, _ = await asyncio.to_thread(page, field, path, field.look)
    if field.master.text().count("hung up on a client") > before:
        raise Succeeded("the master hung up on the page")
    if status >= 500:
        raise Succeeded(f"it answered {status}")
    await all_is_well(field)
    return f"answered {status}"


@attack("visitor with a link to look: a cookie with the name of a link that may act")
async def forges_cookie(field: Field) -> str:
    def enter(token: str) -> str:
        connection = http.client.HTTPConnection(HOST, field.page_port, timeout=20)
        try:
            connection.request("GET", f"/login?token={token}")
            return (connection.getresponse().getheader("set-cookie") or "").partition(";")[0]
        finally:
            connection.close()

    cookie = await asyncio.to_thread(enter, field.look)
    name, _, value = cookie.partition("=")
    ident, ends, mac = value.split(".")
    other = field.act.partition(".")[0]
    for forged in (
        f"{other}.{ends}.{mac}",
        f"{ident}.{int(ends) + 10**6}.{mac}",
        f"{other}.{ends}.",
        f"{other}..",
        "..",
    ):
        connection = http.client.HTTPConnection(HOST, field.page_port, timeout=20)
        try:
            connection.request("GET", "/api/v1/me", headers={"cookie": f"{name}={forged}"})
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != 401:
            raise Succeeded(f"{forged} is answered with {status}")
    return "refused: 401"


@attack("stranger at the page: a file in ten thousand pieces")
async def many_pieces(field: Field) -> str:
    """Putting the pieces in order must not take the page's time from everybody."""
    pieces = ",".join(f"{2 * number}-{2 * number}" for number in range(8000))
    began = time.monotonic()
    status, body = await asyncio.to_thread(
        page, field, "/static/app.js", field.look, "GET", {"range": f"bytes={pieces}"}
    )
    if time.monotonic() - began > 5 or len(body) > 10 << 20:
        raise Succeeded(f"it answered {status} with {len(body)} bytes after {time.monotonic() - began:.1f} s")
    await all_is_well(field)
    return f"answered {status} at once"


@attack("old token: a device that was removed comes under another name", name="someone")
async def comes_as_another(field: Field, name: str) -> str:
    answer = await must_be_refused(field.request(**field.joining(name=name, token=field.old_token)))
    return expected("revoked", answer)


@attack("stranger joins: under the name localhost", name="localhost")
@attack("stranger joins: under the name 127.0.0.1", name="127.0.0.1")
@attack("stranger joins: under the name 2130706433", name="2130706433")
@attack("stranger joins: under the name MASTER", name="MASTER")
@attack("stranger joins: under the name all", name="all")
async def captures(field: Field, name: str) -> str:
    return expected("cannot be the name", await must_be_refused(field.request(**field.joining(name=name))))
