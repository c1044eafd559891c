"""The model of state and what it says in words."""

from typing import Any

from octapi.page import explain
from octapi.page.model import Model
from octapi.telemetry.run_trace import RunTrace

WORKER = {
    "name": "pi-1", "address": "10.0.0.1", "host": "pi-1", "slots": 4, "platform": "Linux", "python": "3.13.1",
    "release": "1", "memory": 1_000_000_000, "health": {"cpu": 50.0, "memory": 5e8, "disk": 1e10}, "joined": 900.0,
    "heard": 1000.0, "lights": [], "beats": 0, "state": "ok",
}  # fmt: skip
RUN = {"run": "r1", "number": 7, "script": "x.py", "user": "ann", "host": "lap", "since": 990.0, "ended": None}


def frame(time: float, **more: Any) -> dict[str, Any]:
    """Return a frame of the master in which nothing has changed."""
    empty: dict[str, Any] = {"time": time, "full": False, "sample": [time, 4, 0, 0], "workers": {}, "gone": []}
    return empty | {"runs": {}, "forgotten": [], "stories": {}, "events": [], "samples": []} | more


def story(done: int, failed: int, busy_s: float, last: float) -> dict[str, Any]:
    """Return news of a story."""
    told = RunTrace(990.0)
    told.took("pi-1", "work", 990.0, last, done + failed, failed, busy_s)
    return told.plain()


def test_changes_are_told_and_nothing_else() -> None:
    """First everything; then only rows that differ, and who is gone."""
    model = Model()
    first = model.take(frame(1000.0, full=True, workers={"pi-1": dict(WORKER)}))
    assert first["full"]

    same = model.take(frame(1000.4))
    assert (same["workers"], same["gone"]) == ({}, [])
    busy = model.take(frame(1000.8, workers={"pi-1": {"lights": [["r1", "work", 1]]}}))
    assert list(busy["workers"]) == ["pi-1"]
    assert busy["workers"]["pi-1"]["slots"] == 4
    assert busy["totals"]["busy"] == 1
    assert model.take(frame(1001.2, gone=["pi-1"]))["gone"] == ["pi-1"]


def test_rate_and_time_left_follow_from_what_ended_lately() -> None:
    """Ten jobs a second and forty left make four seconds."""
    model = Model()
    for second in range(6):
        news = story(10 * (second + 1), 0, 1.0, 991.0 + second)
        more = {
            "runs": {"r1": dict(RUN, waiting=100 - 10 * (second + 1), running=0, slots=4)},
            "stories": {"r1": [news]},
        }
        model.take(frame(1000.0 + second, full=second == 0, **more))

    row = model.runs["r1"]
    assert (row["done"], row["total"], row["rate"], row["eta_s"]) == (60, 100, 10.0, 4.0)


def test_the_master_that_is_lost_and_found() -> None:
    """Since when is kept through further failures, and forgotten with the first frame, which tells everything."""
    model = Model()
    model.take(frame(1000.0, full=True, workers={"pi-1": dict(WORKER)}))
    model.lost(1010.0, "it hung up")
    assert model.lost(1015.0, "refused")["trouble"] == {"since": 1010.0, "text": "refused"}

    assert model.take(frame(1020.0, full=True))["full"]
    assert model.trouble["since"] is None
    assert model.workers == {}


def test_ten_minutes_are_kept_and_no_more() -> None:
    """Older samples go."""
    model = Model()
    model.take(frame(0.0, full=True, samples=[[-700.0 + 5 * n, 4, 2, 0] for n in range(140)]))
    for number in range(100):
        model.take(frame(10.0 * number))
    assert model.samples[0][0] >= model.now - 600
    assert model.samples[-1][0] == model.now


def test_troubles_of_a_device_are_words() -> None:
    """The worst comes first; a device that is well has none."""
    assert explain.badges(WORKER, 1001.0) == []
    ill = dict(
        WORKER,
        heard=970.0,
        state="draining",
        health={"temperature": 84.0, "undervoltage": 1.0, "clock_ahead_s": -7200.0, "memory": 1e7, "disk": 1e6},
    )
    found = explain.badges(ill, 1000.0)
    assert [badge[0] for badge in found] == ["alarm", "alarm", "warn", "warn", "warn", "warn", "note"]
    words = " ".join(badge[2] for badge in found)
    for part in ("under-voltage", "84 °C", "silent for 30 s", "clock is 2 h behind", "10 MB of memory", "1 MB of disk"):
        assert part in words


def facts(**more: Any) -> dict[str, Any]:
    """Return what a sentence is made of."""
    return {"busy_s": 40.0, "wall_s": 10.0, "slots": 4, "finished": 100, "failed": 0} | more


def test_one_sentence_says_how_well_a_run_used_the_cluster() -> None:
    """And why not better, by what is likeliest."""
    assert "4.0 times as fast as one core, and 100% of what is possible." in explain.sentence(facts())
    assert "fewer jobs (2) than slots" in explain.sentence(facts(busy_s=8.0, finished=2))
    assert "so short" in explain.sentence(facts(busy_s=0.05))
    assert "start the longest jobs first" in explain.sentence(facts(busy_s=20.0, tail_s=5.0))
    assert "most jobs failed" in explain.sentence(facts(busy_s=10.0, failed=90))
    assert explain.sentence(facts(finished=0)) == "No job has ended yet."


def test_a_worker_that_went_away_stays_visible_with_since_when() -> None:
    """For an hour, or until it is back; a master that is started again does not make it forgotten."""
    model = Model()
    model.take(frame(1000.0, full=True, workers={"pi-1": dict(WORKER), "pi-2": dict(WORKER)}))
    news = model.take(frame(1010.0, gone=["pi-2"]))
    assert news["lost"]["pi-2"]["since"] == 1010.0
    assert model.snapshot()["lost"].keys() == {"pi-2"}
    assert "lost" not in model.take(frame(1020.0))
    assert model.take(frame(1030.0, workers={"pi-2": dict(WORKER)}))["lost"] == {}
    assert model.take(frame(1040.0, full=True, workers={"pi-2": dict(WORKER)}))["lost"].keys() == {"pi-1"}
    assert model.take(frame(1040.0 + 3600.0))["lost"] == {}
