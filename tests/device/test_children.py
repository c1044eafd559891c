"""Ending processes that this one started."""

import asyncio
import signal
import subprocess
import sys
import time

from octapi.device import children
from octapi.protocol import stdio_json

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('here', flush=True); time.sleep(99)"


def start(code: str) -> subprocess.Popen[str]:
    """Start a process, and wait until it says that it is here."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.stdout.close()
    return process


def test_a_process_that_is_told_to_end_is_waited_for() -> None:
    process = start("import time; print('here', flush=True); time.sleep(99)")
    children.stop(process, 30.0)
    assert process.returncode == -signal.SIGTERM


def test_a_process_that_does_not_listen_is_killed() -> None:
    process = start(STUBBORN)
    children.stop(process, 0.1)
    assert process.returncode == -signal.SIGKILL


def test_a_loop_goes_on_while_a_process_ends() -> None:
    async def main() -> tuple[int | None, int | None]:
        stubborn = await asyncio.create_subprocess_exec(sys.executable, "-c", STUBBORN, stdout=asyncio.subprocess.PIPE)
        assert stubborn.stdout is not None
        assert await stubborn.stdout.readline() == b"here\n"
        await children.stop_soon(stubborn, 0.1)
        await children.stop_soon(stubborn, 0.1)
        own = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(99)")
        asked: list[float] = []
        await children.reap_soon(own, 0.1, lambda: (asked.append(time.monotonic()), own.send_signal(signal.SIGINT)))
        assert len(asked) == 1
        return stubborn.returncode, own.returncode

    stubborn, own = asyncio.run(main())
    assert stubborn == -signal.SIGKILL
    assert own is not None


def test_a_module_that_is_started_talks_by_pipes_alone() -> None:
    async def main() -> int:
        process = await stdio_json.start("octapi.telemetry.heartbeat")
        assert process.stdout is not None
        assert await process.stdout.read()
        return await process.wait()

    assert asyncio.run(main()) in (0, 1)
