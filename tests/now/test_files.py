"""Files are sent as they are at the call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from octapi.client.attached_files import AttachedFiles
from octapi.errors import JobNotSent
from tests.harness import until

if TYPE_CHECKING:
    import octapi


def read_text(name: str) -> str:
    """Run in a slot."""
    return Path(name).read_text()


def test_files_are_sent_as_they_are_at_the_call(
    cluster: octapi.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when neither their size nor the time of the change tells."""
    monkeypatch.chdir(tmp_path)
    path = Path("data.txt")
    calls = cluster.options(files="data.txt")
    for text in ("one", "two", "three", "eerht", "one"):
        path.write_text(text)
        assert calls.submit(read_text, "data.txt").result(timeout=60) == text
        assert list(calls.map(read_text, ["data.txt"])) == [text]
    facts = path.stat()
    path.write_text("eno")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert calls.submit(read_text, "data.txt").result(timeout=60) == "eno"


def test_a_file_that_cannot_be_sent_is_named(cluster: octapi.Cluster, tmp_path: Path) -> None:
    """One that is missing, a directory, and two of one name."""
    calls = cluster.options(files=tmp_path / "absent.txt")
    with pytest.raises(JobNotSent, match=r"absent\.txt.*No such file") as caught:
        calls.submit(abs, 1).result(timeout=60)
    assert "pickl" not in str(caught.value)
    with pytest.raises(JobNotSent, match=r"absent\.txt"):
        list(calls.map(abs, [1]))
    with pytest.raises(JobNotSent, match="directory"):
        cluster.options(files=tmp_path).submit(abs, 1).result(timeout=60)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.txt").write_text(name)
    with pytest.raises(JobNotSent, match=r"both arrive as same\.txt"):
        cluster.options(files=[tmp_path / "a/same.txt", tmp_path / "b/same.txt"]).submit(abs, 1).result(timeout=60)


def test_files_that_have_not_changed_for_long_are_not_read_again(tmp_path: Path) -> None:
    """Their times tell; but what has just been written may be written again at the same time."""
    path = tmp_path / "data"
    path.write_text("x")
    files = AttachedFiles()
    files.digest((path,))
    assert not files._known
    os.utime(path, (1, 1))
    until(lambda: files.digest((path,)) and files._known, 10)
    known = dict(files._known)
    assert files.digest((path,)) == next(iter(known.values()))[1]
    path.write_text("y")
    assert files.digest((path,)) != next(iter(known.values()))[1]
