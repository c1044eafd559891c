"""Levels of a service's log, as systemd's journal reads them."""

import asyncio
import json
import logging
import os
import subprocess
import sys

import pytest

from octapi.engine import dask_nodes
from octapi.telemetry import levels

MARKED = "<4>octapi master: refused x\\ny\n<3>octapi master: it ended\n<3>and said why\n<6>octapi master: red joined.\n"
CODE = """
import logging
from octapi.telemetry import logs
logs.set_up("octapi master")
log = logging.getLogger("octapi.master.gateway")
log.warning("refused x\\ny")
log.error("it ended\\nand said why", extra=logs.LINES)
log.info("red joined.")
log.debug("nobody wants to know that")
"""


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)],
)
def test_each_level_has_the_priority_that_syslog_gives_it(level: int, priority: int) -> None:
    """So 'journalctl -p warning' shows what somebody should look at."""
    assert levels.priority(level) == priority


def test_lines_have_their_level_in_the_journal_and_nowhere_else() -> None:
    """The journal is known by what systemd tells the service of its stderr; line ends of others make no lines."""
    read, write = os.pipe()
    facts = os.fstat(write)
    plain = "".join(line[3:] + "\n" for line in MARKED.splitlines())
    for told, expected in ((f"{facts.st_dev}:{facts.st_ino}", MARKED), ("", plain)):
        env = dict(os.environ, JOURNAL_STREAM=told)
        subprocess.run([sys.executable, "-c", CODE], stderr=write, env=env, check=True)
        assert os.read(read, 10_000).decode() == expected
    os.close(read)
    os.close(write)


def test_json_in_the_journal_has_its_level_too() -> None:
    """The journal takes the mark away, so what it keeps is JSON."""
    read, write = os.pipe()
    facts = os.fstat(write)
    env = dict(os.environ, JOURNAL_STREAM=f"{facts.st_dev}:{facts.st_ino}")
    code = CODE.replace('"octapi master")', '"octapi master", logs.LogOptions("warning", True))')
    subprocess.run([sys.executable, "-c", code], stderr=write, env=env, check=True)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as file:
        lines = file.read().splitlines()

    assert [line[:3] for line in lines] == ["<4>", "<3>"]
    assert [json.loads(line[3:])["text"] for line in lines] == ["refused x\ny", "it ended\nand said why"]


def test_a_task_of_dask_that_is_broken_off_at_the_end_is_no_mishap() -> None:
    """A master that is restarted while workers are there has no traceback in its log."""
    for error, is_told in ((asyncio.CancelledError(), False), (ValueError("x"), True)):
        record = logging.LogRecord("distributed.scheduler", 40, "", 0, "", (), (type(error), error, None))
        assert dask_nodes.is_mishap(record) is is_told
