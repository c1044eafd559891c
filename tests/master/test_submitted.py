"""What a submission may and may not put on the master's disk, and the log that is bounded; without a network."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octapi.errors import RunError
from octapi.master.supervisor.script_files import MOST_FILES, ScriptFiles, SubmittedScript, of_request
from octapi.master.supervisor.script_log import SEGMENTS, RunLog

REQUEST = {"run": "261124-161455-abc", "script": "a.py", "arguments": ["1"], "owner": "me", "user": "ada", "host": "h"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"run": "../../etc"},
        {"run": 7},
        {"run": "261124-161455-abc/../x"},
        {"script": ""},
        {"script": "../a.py"},
        {"script": "-c"},
        {"script": ".profile"},
        {"script": None},
        {"arguments": "a b"},
        {"arguments": [1]},
        {"arguments": ["a\0b"]},
        {"arguments": ["x"] * 1001},
        {"arguments": ["x" * 100_001]},
    ],
    ids=repr,
)
def test_a_request_that_makes_no_sense_is_refused_before_anything_is_written(wrong: dict[str, object]) -> None:
    """Ids, names and arguments are checked as if a stranger had sent them."""
    with pytest.raises(RunError):
        of_request(REQUEST | wrong, 1.0)


def shelf(tmp_path: Path, limit: int = 1000) -> tuple[ScriptFiles, SubmittedScript]:
    found = ScriptFiles(tmp_path / "runs", limit)
    found.open()
    run = of_request(REQUEST, 1.0)
    found.create(run)
    return found, run


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", ".octapi/client.json", ".octapi", "", "."])
def test_a_file_does_not_leave_its_run(tmp_path: Path, name: str) -> None:
    """Nor does it take the place of the run's identity."""
    found, run = shelf(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError):
        found.add(run, name, b"x", 0o644, is_first=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_files_have_limits_that_are_named(tmp_path: Path) -> None:
    """Bytes together, and their number; modes are for the owner alone."""
    found, run = shelf(tmp_path)
    found.add(run, "dir/a.sh", b"x" * 600, 0o4777, is_first=True)
    found.add(run, "dir/a.sh", b"y" * 300, 0o4777, is_first=False)
    path = found.home(run) / "dir" / "a.sh"
    assert path.stat().st_size == 900
    assert path.stat().st_mode & 0o7777 == 0o700
    with pytest.raises(RunError, match="upload_mb"):
        found.add(run, "b", b"z" * 200, 0o644, is_first=True)
    for number in range(MOST_FILES - 1):
        found.add(run, f"n{number}", b"", 0o644, is_first=True)
    with pytest.raises(RunError, match=f"at most {MOST_FILES}"):
        found.add(run, "one more", b"", 0o644, is_first=True)
    run.state = "running"
    with pytest.raises(RunError, match="cannot be sent"):
        found.add(run, "late", b"", 0o644, is_first=True)


def test_runs_are_found_again_and_damaged_ones_left_alone(tmp_path: Path) -> None:
    """Facts are replaced whole; what cannot be read stops nothing."""
    found, run = shelf(tmp_path)
    run.state, run.restarts = "running", 3
    found.save(run)
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "facts.json").write_text("{")
    assert ScriptFiles(tmp_path / "runs", 1).open() == [run]
    found.remove(run)
    assert not found.place(run).exists()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.binary(max_size=90), max_size=40), limit=st.integers(4, 200), start=st.integers(-50, 3000))
def test_a_log_keeps_the_latest_and_tells_where_it_begins(
    tmp_path: Path, pieces: list[bytes], limit: int, start: int
) -> None:
    """However it is written and read, offsets are those of everything that was ever said."""
    for old in tmp_path.glob("log.*"):
        old.unlink()
    log, said = RunLog(tmp_path, limit), b"".join(pieces)
    for piece in pieces:
        log.append(piece)
    kept = sum(path.stat().st_size for path in tmp_path.glob("log.*"))
    assert kept <= max(limit, SEGMENTS)
    assert kept >= min(len(said), (SEGMENTS - 1) * (limit // SEGMENTS))
    found = log.read(start, 60)
    assert found.end == len(said)
    wanted = start if start >= 0 else max(0, len(said) + start)
    assert found.offset == max(wanted, len(said) - kept) if said else True
    assert found.data == said[found.offset : found.offset + 60]
