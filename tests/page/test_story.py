"""A run's story: the same for whoever hears it, and bounded."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octapi.errors import WorkerLost
from octapi.master.gateway.registry import RunRegistry
from octapi.master.gateway.trace_writer import TraceWriter
from octapi.protocol import outcome
from octapi.protocol.outcome import Extra, WorkerInfo
from octapi.telemetry import failures, run_trace
from octapi.telemetry.recorder import RunRecorder
from octapi.telemetry.run_trace import RunTrace
from octapi.telemetry.trace_pieces import pieces, whole

#: a moment that can be one, in epoch seconds
NOW = 1.8e9
WORKER = WorkerInfo("pi-1", "10.0.0.1", "pi-1", 4, "Linux", "3.13.1")
happening = st.tuples(
    st.sampled_from(["batch", "failure", "print", "cancel", "report"]),
    st.sampled_from(["pi-1", "pi-2"]),
    st.floats(0.0, 5000.0),
    st.floats(0.0, 300.0),
    st.integers(1, 900),
)


def happen(told: RunTrace, kind: str, worker: str, start: float, seconds: float, number: int) -> None:
    """Let one thing happen to a run that began at 1000."""
    if kind == "batch":
        told.took(worker, "work", 1000.0 + start, 1000.0 + start + seconds, number, 0, seconds)
        for _ in range(number):
            told.piece(1000.0 + start, seconds / number, worker, "work", "ok")
    elif kind == "failure":
        told.took(worker, "work", 1000.0 + start, 1000.0 + start + seconds, 1, 1, seconds)
        told.cause(f"cause {number}")
    elif kind == "print":
        told.printed(worker, "work", f"line {number}\n", "out")
    elif kind == "cancel":
        told.count("cancelled", number)


def comparable(told: RunTrace) -> dict[str, Any]:
    """Return a story in one order."""
    plain = told.plain()
    for kind in ("workers", "functions", "buckets"):
        plain[kind] = sorted([*row[:-1], round(row[-1], 2)] for row in plain[kind])
    plain["causes"] = sorted((row["key"], row["count"]) for row in plain["causes"])
    return plain


@settings(max_examples=60, deadline=None)
@given(st.lists(happening, max_size=60))
def test_whoever_hears_all_news_knows_the_whole_story(happenings: list[Any]) -> None:
    """Merging every report, in order and over JSON, gives what the dispatcher has."""
    told, heard = RunTrace(1000.0), RunTrace()
    for kind, *rest in [*happenings, ("report", "", 0, 0, 0)]:
        happen(told, kind, *rest)
        if kind == "report" and (news := told.changes()) is not None:
            heard.merge(json.loads(json.dumps(news)))

    if told.plain() != RunTrace(1000.0).plain():
        assert comparable(heard) == comparable(told)


def test_ten_million_jobs_take_no_more_room_than_ten_thousand() -> None:
    """Only sums are kept, for each worker and bucket of time, however long a run lasts."""

    def size(batches: int) -> int:
        told = RunTrace(0.0)
        for number in range(batches):
            worker = f"pi-{number % 8}"
            told.took(worker, "work", number * 0.5, number * 0.5 + 0.1, 1000, 0, 0.1)
            told.piece(number * 0.5, 0.1, worker, "work", "ok", 1000)
        return len(json.dumps(told.plain()))

    assert size(10_000) < 2 * size(2_500)
    assert size(10_000) < 60_000


def test_what_a_hostile_script_tells_is_bounded() -> None:
    """Long names, many causes and endless output are cut to what fits."""
    told = RunTrace(0.0)
    for number in range(5000):
        told.cause(f"cause {number} " + "x" * 5000)
        told.printed("w" * 500, "f" * 500, "line " * 100_000, "out")
        told.took(f"worker {number}", "f", 0.0, 1.0, 1, 0, 1.0)
    news = told.changes()
    assert news is not None

    heard = RunTrace()
    heard.merge(news)

    assert len(heard.causes) <= run_trace.CAUSES + 1
    assert len(heard.output) <= run_trace.LINES
    assert len(heard.workers) <= run_trace.NAMES
    assert sum(row["count"] for row in told.plain()["causes"]) == 5000


def test_failures_are_grouped_by_function_line_kind_and_words_but_not_by_numbers() -> None:
    """The first of each cause is kept with its arguments, worker and traceback."""
    recorder = RunRecorder(lambda: 1001.0)
    text = 'Traceback (most recent call last):\n  File "/tmp/x/job.py", line 7, in work\nValueError: bad item {}\n'
    for number in range(5):
        data = pickle.dumps((b"", text.format(number)))
        payload = pickle.dumps(((number,), {}))
        recorder.job((WORKER, "work"), (outcome.ERROR, data), (1000.0, 0.5), None, lambda of=payload: of)
    lost = pickle.dumps(WorkerLost("Its worker went away."))
    recorder.job((WORKER, "work"), (outcome.FAULT, lost), (1000.0, 0.5), Extra("said", "", 0), lambda: None)

    causes = sorted(recorder.story.causes.values(), key=lambda row: -row["count"])
    assert [(row["count"], row["kind"]) for row in causes] == [(5, "ValueError"), (1, "WorkerLost")]
    first = causes[0]
    assert (first["message"], first["line"], first["arguments"], first["worker"]) == (
        "bad item 0",
        "job.py:7",
        "0",
        "pi-1",
    )
    assert "Traceback" in first["traceback"]
    assert causes[1]["output"] == "said"


def test_an_error_that_cannot_be_read_is_told_all_the_same() -> None:
    """Damaged bytes become a cause like any other."""
    assert failures.read(outcome.ERROR, b"nonsense")["message"] == "its error cannot be read"


def test_a_workers_wrong_clock_does_not_bend_the_timeline() -> None:
    """Its times are moved to where they must have been, when they are impossible or far off."""
    recorder = RunRecorder(lambda: 5000.0)
    recorder.story.began = 4990.0
    recorder.batch((WORKER, "work"), (90_000.0, 90_002.0), 1, 0, 2.0)

    assert recorder.story.first == 4998.0
    assert recorder.story.last == 5000.0


def test_a_story_is_kept_in_pieces_that_fit_and_found_again() -> None:
    """What the database gives back is what was told."""
    told = RunTrace(0.0)
    for number in range(1500):
        happen(told, "batch", f"pi-{number % 5}", number / 10, 0.1, 1)
    kept: dict[str, list[Any]] = {}
    for (kind, _), data in sorted(pieces(told.plain()).items()):
        kept.setdefault(kind, []).append(json.loads(json.dumps(data)))
    heard = RunTrace()
    plain = whole(kept)
    assert plain is not None
    heard.merge(plain)

    assert comparable(heard)["buckets"] == comparable(told)["buckets"]
    assert len(heard.pieces) == len(told.pieces)


def test_long_output_in_any_script_is_kept_whole_and_nothing_told_stops_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Lines of letters that take three bytes each fit in smaller pieces; a piece that fits in none is left out."""
    registry = RunRegistry(tmp_path)
    trace_writer, told = TraceWriter(registry, clock=lambda: 0.0), RunTrace(0.0)
    for _ in range(300):
        told.printed("pi-1", "work", "日" * 400, "out")
    told.causes["x"] = {"key": "x", "count": 1, "message": "й" * (1 << 18)}
    trace_writer.take("run", told)
    trace_writer.close("run")
    registry.close()
    assert registry.reader is not None

    kept = [row for _, piece in registry.reader.story("run", "output") for row in piece]
    assert kept == list(told.output)
    assert registry.reader.story("run", "causes") == []
    assert [text for text in caplog.messages if "is not kept" in text]


def test_a_record_without_a_time_makes_no_run_of_decades() -> None:
    """Such a job counts as just ended; nothing is told of a moment that nobody knows."""
    recorder = RunRecorder(lambda: NOW)
    worker = WORKER._replace(name="red")
    recorder.job((worker, "f"), (outcome.VALUE, b""), (0.0, 0.25), None, lambda: None)
    recorder.batch((worker, "f"), (0.0, 0.0), 1, 0, 0.25)
    recorder.batch((worker, "f"), (NOW - 1.0, NOW), 1, 0, 1.0)

    assert recorder.story.first == NOW - 1.0
    assert recorder.story.last == NOW
    assert recorder.story.pieces[0][0] == -0.25


def test_a_story_that_was_kept_with_such_a_moment_is_mended_when_it_is_read() -> None:
    """A run took 20,782 days for ever."""
    old = RunTrace(NOW)
    old.took("red", "f", NOW + 1, NOW + 3, 2, 0, 2.0)
    old.first, old.last = 0.0, 0.1
    old.piece(0.0, 0.1, "red", "f", "ok")
    old.piece(NOW + 1, 0.1, "red", "f", "ok")

    read = RunTrace()
    read.merge(old.plain())

    assert (read.first, read.last) == (NOW, NOW + 4.0)
    assert [piece[0] for piece in read.pieces] == [1.0]
