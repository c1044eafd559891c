"""Attacks on the page: by strangers, and by visitors with a link to look only; and devices called like hosts."""

import asyncio
import http.client
import socket

from tests.security.attack_cluster import Field, Succeeded, must_be_refused
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
