"""What watchers are told of workers, and how a sign of life is judged."""

from octapi.telemetry import heartbeat
from octapi.telemetry.view import differences, strain


def test_watchers_hear_what_changed_and_who_is_gone() -> None:
    """A row that is new is told whole."""
    old = {"red": {"slots": 2, "busy": 1}, "blue": {"slots": 1}, "gray": {"slots": 4}}
    new = {"red": {"slots": 2, "busy": 2}, "gray": {"slots": 4}, "green": {"slots": 8}}
    assert differences(old, new) == ({"red": {"busy": 2}, "green": {"slots": 8}}, ["blue"])
    assert differences(new, new) == ({}, [])


def test_load_and_memory_are_percent_of_what_is_there() -> None:
    assert strain({"cpu": 30.4, "memory": 250}, 1000) == (70, 75)
    assert strain({"memory": 250}, 0) == (None, None)
    assert strain({}, 1000) == (None, None)


def test_a_sign_of_life_is_good_until_it_is_too_old() -> None:
    """One of a clock that was set back far is none either."""
    sign: heartbeat.Sign = {"time": 100.0, "pid": 1, "state": "2 workers"}
    assert heartbeat.judge(sign, 109.0, 10.0) == (True, "2 workers")
    assert heartbeat.judge(sign, 111.0, 10.0) == (False, "stuck: no sign of life for 11 s; it was 2 workers")
    assert not heartbeat.judge(sign, 80.0, 10.0)[0]
    assert heartbeat.judge(None, 0.0, 10.0) == (False, "no sign of life yet")
