"""A master whose scheduler ends, ends too, so that whoever supervises it starts it anew."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from octapi.protocol import stdio_json
from tests.harness import Running, Yard, ports_of

pytestmark = pytest.mark.timeout(180)


def scheduler_of(master: Running) -> int:
    """Return the process of a master's scheduler."""
    for pid in Path(f"/proc/{master.process.pid}/task/{master.process.pid}/children").read_text().split():
        if b"octapi.master.gateway.server" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    raise AssertionError("the master has no scheduler")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_master_does_not_stay_without_its_scheduler(yard: Yard, number: int) -> None:
    """Its ports are free again, its exit code is a failure, and started again it is the same master."""
    master = yard.master()
    ports = ports_of(master)

    os.kill(scheduler_of(master), number)

    assert master.wait(60) != 0
    assert "The scheduler ended by itself" in master.text()
    again = yard.master(ports=(str(ports["join"]), str(ports["clients"]), str(ports["dask"])))
    assert ports_of(again) == ports


def test_a_line_that_is_too_long_or_none_does_not_end_the_keeper() -> None:
    """The scheduler's process repeats words of others; what it says is ignored where it is none."""

    async def heard() -> tuple[list[object], list[str]]:
        reader = asyncio.StreamReader(limit=1 << 10)
        said: list[str] = []
        found: list[object] = []
        for line in (b'{"a": 1}\n', b"x" * 5000 + b"\n", b"[1]\n", b'{"a": NaN}\n', b"\xff\n", b'{"a": 2}\n'):
            reader.feed_data(line)
        reader.feed_eof()
        await stdio_json.follow(reader, found.append, said.append)
        return found, said

    found, said = asyncio.run(heard())

    assert found == [{"a": 1}, {"a": 2}]
    assert len(said) == 4
