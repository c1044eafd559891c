"""Files of a master: written when they change, and not the end of it when they cannot be."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from octapi.device import files
from octapi.master.supervisor.retry_writes import RetryingWrites
from octapi.trust import ssh
from tests.harness import Yard, until

WORKER = {"name": "red", "address": "10.0.0.1", "ssh": {"port": 8722, "user": "pi"}}


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_the_list_for_ssh_is_written_only_when_it_changes(tmp_path: Path) -> None:
    """News of workers come each second, and memory cards wear out."""
    place = tmp_path / ssh.DIRECTORY / "config"
    ssh.write_config(tmp_path, [WORKER])
    first = place.stat()
    ssh.write_config(tmp_path, [WORKER | {"health": {"load": 2.0}}])
    assert (place.stat().st_ino, place.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    ssh.write_config(tmp_path, [WORKER | {"address": "10.0.0.2"}])
    assert "10.0.0.2" in place.read_text()
    assert place.stat().st_mode & 0o777 == 0o600
    place.chmod(0o644)
    ssh.write_config(tmp_path, [WORKER | {"address": "10.0.0.2"}])
    assert place.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_is_said_once_and_when_it_can_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second failure for the same reason is silent; nothing is raised."""
    caplog.set_level("INFO", "octapi")
    disk, home = RetryingWrites(), tmp_path / "home"
    home.touch()
    for _ in range(3):
        assert not disk.attempt("the list", lambda: files.update(home / "list", "x"))
    home.unlink()
    disk.retry()
    assert (home / "list").read_text() == "x"
    assert [text.partition(":")[0] for text in caplog.messages] == [
        "the list cannot be written",
        "the list can be written again.",
    ]


def test_a_master_whose_disk_becomes_read_only_goes_on(yard: Yard) -> None:
    """Its workers come and go meanwhile; when the disk can be written again it says so."""
    if not ssh.sshd_program():
        assert not os.environ.get("CI"), "install openssh-server"
        pytest.skip("there is no sshd here: install openssh-server")
    home = yard.home("master")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", str(home)], capture_output=True, check=False
    )
    if mounted.returncode:
        assert not os.environ.get("CI"), mounted.stderr
        pytest.skip("this process may not mount")
    try:
        master = yard.master()
        worker = yard.worker("red", yard.token(), ssh_port=free_port())
        until(lambda: "Host red" in (home / ssh.DIRECTORY / "config").read_text())
        subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)
        worker.stop()
        master.until_says("the list of workers for SSH cannot be written")
        subprocess.run(["mount", "-o", "remount,rw", str(home)], check=True)
        master.until_says("the list of workers for SSH can be written again")
        until(lambda: "Host red" not in (home / ssh.DIRECTORY / "config").read_text())
        assert master.text().count("the list of workers for SSH cannot") == 1
        master.stop()
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)
