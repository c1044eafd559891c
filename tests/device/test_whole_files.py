"""Files that are replaced whole."""

import stat
from pathlib import Path

import pytest

from octapi.device import files
from octapi.protocol.computation import File


def test_a_file_is_replaced_whole_with_its_mode_and_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.replace(path, "one", 0o640, mtime=1e9)
    facts = path.stat()
    assert (path.read_text(), stat.S_IMODE(facts.st_mode), facts.st_mtime) == ("one", 0o640, 1e9)
    files.replace(path, b"two", is_lasting=True)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("two", 0o644)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(OSError, match="a"):
        files.replace(path, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("old")
    (tmp_path / "a").symlink_to(tmp_path / "secret")
    files.replace(tmp_path / "a", "new")
    assert ((tmp_path / "secret").read_text(), (tmp_path / "a").read_text()) == ("old", "new")


def test_a_file_that_travels_is_the_same_where_it_arrives(tmp_path: Path) -> None:
    files.replace(tmp_path / "a", "data", 0o750, mtime=1e9)
    found = File(*File.read(tmp_path / "a", "deep/b").row())
    (tmp_path / "there").mkdir()
    there = found.place(tmp_path / "there")
    assert (there.read_text(), stat.S_IMODE(there.stat().st_mode), there.stat().st_mtime) == ("data", 0o750, 1e9)
