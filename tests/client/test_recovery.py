"""What is told of the jobs of scripts that are gone."""

import pickle
import time
from typing import Any

import pytest

from octapi.client.recovery import Recovered, Recovery
from octapi.protocol import outcome, wire


def record(index: int, value: Any) -> bytes:
    data = pickle.dumps(value)
    return wire.RECORD.pack(index, outcome.VALUE, len(data), time.time(), 0.1) + data


def test_a_damaged_message_of_one_worker_spoils_no_other_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    found = Recovery(lambda row: pickle.loads(bytes(row.data)))
    found.hear(("agent", "red", ("results", 1, record(0, "first"))))
    found.hear(("agent", "blue", ("results", 2, record(0, "half")[:-3])))
    found.hear(("agent", "red", ("results", 1, record(1, "second"))))

    assert found.jobs() == ["first", "second"]
    assert "outcomes of jobs that blue ran are left out" in capsys.readouterr().err


def test_an_outcome_is_found_once(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[Recovered] = []
    found = Recovery(rows.append)
    for _ in range(2):
        found.hear(("agent", "red", ("results", 1, record(0, "first"))))

    assert len(rows) == 1
