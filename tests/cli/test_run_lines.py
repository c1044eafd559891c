"""How a run stands, in words."""

from typing import Any

import pytest

from octapi.cli.runs import line, state_of

RUN: dict[str, Any] = {
    "id": "261124-161455-abc", "script": "s.py", "arguments": ["-n", "3"], "user": "ann", "state": "done", "done": 1200,
    "failed": 0, "waiting": 2, "running": 3, "kept": 0, "exit_code": None, "error": "", "restarts": 0, "started": None,
    "submitted": 1000.0, "ended": 1059.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "ended"),
        ({"failed": 1}, "ended, with failures"),
        ({"state": "gone"}, "gone"),
        ({"state": "gone", "kept": 1200}, "gone, 1,200 kept"),
        ({"exit_code": 2}, "ended, exit code 2"),
        ({"exit_code": -9, "restarts": 1}, "ended, signal 9 (restarted once)"),
        ({"restarts": 3}, "ended (restarted 3 times)"),
        ({"state": "failed", "error": "Traceback\nValueError: no\n"}, "failed: ValueError: no"),
    ],
)
def test_a_state_is_told_with_its_reason(change: dict[str, Any], words: str) -> None:
    assert state_of(RUN | change) == words


def test_a_line_counts_jobs_and_tells_how_long_it_took() -> None:
    cells = line(RUN, 5000.0)
    assert cells[:7] == ("261124-161455-abc", "s.py -n 3", "ann", "ended", "1,200", "0", "5")
    assert cells[-1] == "59 s"
    assert line(RUN | {"ended": None, "started": 4990.0}, 5000.0)[-1] == "10 s"
