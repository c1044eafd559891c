"""The end of a job's process in words, and whether it was the job's own doing."""

import signal

import pytest

from octapi.protocol.exits import exit_phrase, is_own_end


@pytest.mark.parametrize(
    ("info", "words", "is_own"),
    [
        ({"exit_code": 3}, "ended with exit code 3", True),
        ({"signal": signal.SIGSEGV}, "was killed by SIGSEGV (11)", True),
        ({"signal": 9}, "was killed by SIGKILL (9) (by hand, or for want of memory)", False),
        ({"signal": 15}, "was killed by SIGTERM (15)", False),
        ({"signal": 300}, "was killed by a signal (300)", True),
        ({"why": "frozen", "signal": 9}, "stood still, stopped from outside, and was killed", False),
        ({"why": "nonsense"}, "sent its worker what makes no sense, and was killed", False),
        (
            {"out_of_memory": True, "limit": 5e7, "memory": 6e7},
            "ran out of memory: its slot may hold 50 MB (slot_memory_mb); it had taken 60 MB, and was killed",
            False,
        ),
        ({"out_of_memory": True}, "ran out of memory on its worker; it had taken 0 MB, and was killed", False),
    ],
)
def test_an_end_is_told_in_words_and_blamed_on_the_job_or_not(
    info: dict[str, object], words: str, is_own: bool
) -> None:
    assert exit_phrase(info) == words
    assert is_own_end(info) is is_own
