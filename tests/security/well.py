"""Whether the rest of the cluster is well after an attack: master, other workers, page and database."""

import asyncio
import http.client
import json
from typing import Any

from octapi.protocol import wire
from tests.security.attack_cluster import Field, Succeeded

OTHERS = {"red", "blue", "slim"}


async def nodes(field: Field) -> dict[str, Any]:
    """Ask the master who is in, as a client."""
    async with field.stream("clients", "ann") as (reader, writer):
        writer.write(wire.pack(("hello", {"protocol": wire.PROTOCOL, "oldest": wire.OLDEST_PROTOCOL})))
        writer.write(wire.pack(("nodes",)))
        while True:
            kind, *rest = await asyncio.wait_for(wire.read_frame(reader), 20)
            if kind == "nodes":
                found: dict[str, Any] = rest[0]
                return found


def page(
    field: Field, path: str, token: str = "", method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Ask the page."""
    connection = http.client.HTTPConnection("127.0.0.1", field.page_port, timeout=20)
    sent = {"authorization": f"Bearer {token or field.act}"} | (headers or {})
    try:
        connection.request(method, path, b"{}" if method == "POST" else None, sent)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


async def all_is_well(field: Field) -> None:
    """Raise :exc:`Succeeded` unless everything else works as before."""
    try:
        found = await nodes(field)
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        raise Succeeded(f"the master does not answer: {error!r}") from error
    here = {row["name"] for row in found["workers"] if row["state"] == "ok"}
    if not here >= OTHERS:
        raise Succeeded(f"of the other workers only {here} are well")
    if found["trouble"]:
        raise Succeeded(f"the database has trouble: {found['trouble']}")
    status, body = await asyncio.to_thread(page, field, "/api/v1/state")
    if status != 200:
        raise Succeeded(f"the page answers {status}")
    json.loads(body)
