"""Work that must not end begins again, and says so."""

import asyncio
import contextlib

import pytest

from octapi.device import keep_running
from octapi.device.keep_running import KeepRunning


def test_work_that_goes_wrong_begins_again_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its task is cancelled."""
    monkeypatch.setattr(keep_running, "PAUSE_S", 0.0)
    said: list[str] = []

    async def run() -> int:
        done = asyncio.Event()
        tries = iter([ValueError("odd"), None, ArithmeticError("odder")])

        async def work() -> None:
            error = next(tries, "last")
            if error == "last":
                done.set()
                await asyncio.Event().wait()
            if isinstance(error, Exception):
                raise error

        found = KeepRunning("the work", work, said.append)
        task = asyncio.create_task(found.run())
        await asyncio.wait_for(done.wait(), 20)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return found.ends

    assert asyncio.run(run()) == 3
    assert ["odd" in text for text in said] == [True, False, True]
    assert "ended by itself" in said[1]
