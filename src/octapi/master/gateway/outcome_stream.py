"""Giving outcomes of clients that are gone to somebody who fetches them: from disk, from memory, and as they come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from octapi.errors import StateError
from octapi.master.gateway.outcome_spool import EPILOGUE, part_of
from octapi.protocol import replies

if TYPE_CHECKING:
    from octapi.master.gateway.outcome_spool import OutcomeSpool
    from octapi.master.gateway.session import ClientSession


async def pour(spool: OutcomeSpool, fetcher: ClientSession, clients: list[ClientSession]) -> None:
    """Send everything of ``clients`` to ``fetcher``, and wait for what is not there yet.

    Nothing is dropped by this: the fetcher says ``settled`` when it has everything.
    """
    for client in clients:
        part = part_of(client.session)
        names = {ident: function for ident, (_, function) in client.names.items()}
        names |= {row[0]: row[2] for row in await asyncio.to_thread(spool.batches, client)}
        names |= {ident: client.function_of(held.digest) or names.get(ident, "") for ident, held in client.held.items()}
        fetcher.send(replies.Part(part, names))
        await _pour_one(spool, fetcher, client)
    fetcher.send(replies.Complete())


async def _pour_one(spool: OutcomeSpool, fetcher: ClientSession, client: ClientSession) -> None:
    sent = 0
    while True:
        client.news.clear()
        released = client.outbox.acknowledged
        if sent < released:
            await _from_disk(spool, fetcher, client, sent, released)
            sent = released
        if sent >= client.outbox.acknowledged:  # no await between here and the reading of the outbox
            for frame in client.outbox.since(sent):
                fetcher.write(frame)
            sent = client.outbox.last
            await fetcher.drain()
            if sent != client.outbox.last:
                continue
            if client.is_complete:
                break
            await client.news.wait()
        await fetcher.drain()
    if client.short:
        await asyncio.wrap_future(spool.registry.writer.flush())
    await _from_disk(spool, fetcher, client, EPILOGUE, 2 * EPILOGUE)


async def _from_disk(
    spool: OutcomeSpool, fetcher: ClientSession, client: ClientSession, after: int, until: int
) -> None:
    while rows := await asyncio.to_thread(spool.read, client, after, until):
        for number, frame in rows:
            after = number
            fetcher.write(frame)
        await fetcher.drain()


async def serve(spool: OutcomeSpool, fetcher: ClientSession, clients: list[ClientSession]) -> None:
    """Pour, and tell the fetcher when the database cannot be read."""
    try:
        await pour(spool, fetcher, clients)
    except StateError as error:
        fetcher.send(replies.Refused({"error": "StateError", "text": str(error)}))
    except ConnectionError:
        pass  # the fetcher is gone; everything stays
    finally:
        for client in clients:
            client.fetcher = None
