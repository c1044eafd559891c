"""Outcomes of a client that is gone stay in memory until the database has them."""

import asyncio
from pathlib import Path

import pytest

from octapi.master.gateway.outcome_spool import OutcomeSpool, part_of, place
from octapi.master.gateway.registry import RunRegistry
from octapi.master.gateway.session import BatchRecord, ClientSession
from octapi.protocol import wire
from octapi.store import writer
from octapi.store.reader import Reader
from octapi.store.writer import Writer
from tests.harness import until


def test_outcomes_that_the_database_cannot_take_are_written_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More come than may wait for a disk that is full: none is dropped, and no batch is said to be over too early."""
    monkeypatch.setattr(writer, "MOST_WAITING", 20)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    (tmp_path / "full").touch()
    registry = RunRegistry(None)
    registry.writer = registry.outcomes.writer = Writer(tmp_path / "full" / "history.db")
    until(lambda: registry.trouble)

    async def outcomes() -> None:
        client = ClientSession(None, {"session": "s", "token": "t", "recoverable": True})
        client.run, client.is_run = "run", True
        spool = OutcomeSpool(registry)
        spool.persist(client)
        for ident in range(100):
            number = client.deliver("pi-1", ("results", ident, b"x"))
            client.names[ident] = (1, "work")
            spool.ended(client, number, BatchRecord(client, ident, "", {"jobs": 1}))
        assert client.behind
        (tmp_path / "full").unlink()
        until(lambda: not registry.trouble)
        registry.writer.flush().result(30)
        reader, first = Reader(tmp_path / "full" / "history.db"), place(part_of("s"), 0)
        over = {row[0] - first for row in reader.batches("run") if row[3]}
        there = {wire.unpack(frame[wire.LENGTH.size :])[2][1] for _, frame in reader.outcomes("run", limit=1000)}
        assert over <= there < set(range(100))
        spool.catch_up(client)
        assert not client.behind
        registry.writer.flush().result(30)
        assert [number - first for number, _ in reader.outcomes("run", limit=1000)] == list(range(1, 101))
        assert {row[0] - first for row in reader.batches("run") if row[3]} == set(range(100))

    asyncio.run(outcomes())
    registry.close()
