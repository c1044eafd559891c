"""Levels of a service's log, as systemd's journal reads them."""

import asyncio
import logging
import os
import subprocess
import sys

import pytest

from octapi.engine import dask_nodes
from octapi.telemetry import levels

MARKED = "<4>octapi master: refused x\n<4>more\n<6>y\n"
CODE = "from octapi import levels; levels.log('octapi master: refused x\\nmore'); levels.log('y', levels.INFO)"


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("octapi master: red joined from 10.0.0.2 with 4 slots.", levels.INFO),
        ("octapi master: refused worker red: it is removed", levels.WARNING),
        ("octapi worker: lost the master; looking for it again.", levels.WARNING),
        ("octapi worker: could not work for the master at pi:8788: no answer", levels.WARNING),
        ("octapi master: the page cannot start: no memory.", levels.ERROR),
    ],
)
def test_what_somebody_should_look_at_is_a_warning(text: str, level: int) -> None:
    """The rest is information, so 'journalctl -p warning' shows what matters."""
    assert levels.level_of(text) == level


def test_lines_have_their_level_in_the_journal_and_nowhere_else() -> None:
    """The journal is known by what systemd tells the service of its stderr."""
    read, write = os.pipe()
    facts = os.fstat(write)
    plain = "octapi master: refused x\nmore\ny\n"
    for told, expected in ((f"{facts.st_dev}:{facts.st_ino}", MARKED), ("", plain)):
        env = dict(os.environ, JOURNAL_STREAM=told)
        subprocess.run([sys.executable, "-c", CODE], stderr=write, env=env, check=True)
        assert os.read(read, 10_000).decode() == expected
    os.close(read)
    os.close(write)


def test_a_task_of_dask_that_is_broken_off_at_the_end_is_no_mishap() -> None:
    """A master that is restarted while workers are there has no traceback in its log."""
    for error, is_told in ((asyncio.CancelledError(), False), (ValueError("x"), True)):
        record = logging.LogRecord("distributed.scheduler", 40, "", 0, "", (), (type(error), error, None))
        assert dask_nodes.is_mishap(record) is is_told
