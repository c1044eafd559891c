"""Devices in trouble: clocks that are set, disks that are full, descriptors and directories that are gone."""

import os
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.harness import Running, Yard, until

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


def needs(there: object, what: str) -> None:
    """Skip on a computer that lacks something; in CI it must be there."""
    if not there:
        assert not os.environ.get("CI"), f"CI must have {what}"
        pytest.skip(f"needs {what}")


def run(yard: Yard, code: str) -> str:
    """Run code with a cluster ``c`` on the master's device."""
    return yard.run("master", f"import octapi, time\nwith octapi.Cluster() as c:\n    {code}")


CLOCKS = """
import octapi, os, sys, time
def work(n):
    end = time.monotonic() + 2
    while time.monotonic() < end:
        pass
    return n
with octapi.Cluster() as c:
    once = c.options(retries=0, timeout_s=20)
    for clock in ("-3600s", "+365d", "+0s"):
        job = once.submit(work, 7)
        while not (job.running() or job.done()):
            time.sleep(0.05)
        for path in sys.argv[1:]:
            with open(path + ".new", "w") as file:
                file.write(clock)
            os.replace(path + ".new", path)
        print(clock, job.result(), flush=True)
        print(once.submit(work, 8).result(), flush=True)
"""


def test_clocks_that_are_set_while_jobs_run_stop_nothing(yard: Yard, tmp_path: Path) -> None:
    """Of master and worker, back an hour and forward a year: no worker is lost, no time limit strikes."""
    needs(LIBRARY, "Debian's package faketime")
    clocks = {name: tmp_path / f"{name}.clock" for name in ("master", "red")}
    env = {}
    for name, path in clocks.items():
        path.write_text("+0s")
        env[name] = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    master = yard.master(env=env["master"])
    worker = yard.worker("red", yard.token(), env=env["red"])
    script = yard.script("master", f"import sys; sys.argv[1:] = {[str(p) for p in clocks.values()]!r}\n{CLOCKS}")
    script.until_says("+0s 7", 45)
    assert script.wait() == 0, script.text()
    assert "left" not in master.text()
    assert "lost the master" not in worker.text()


def test_a_full_disk_refuses_what_needs_it_and_is_welcome_when_it_has_room(yard: Yard, tmp_path: Path) -> None:
    """The error says so and where; jobs without files go on; nothing half written is used."""
    needs(not os.geteuid(), "root")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=True)
    try:
        yard.master()
        yard.worker("red", yard.token(), env={"TMPDIR": str(small)})
        big = tmp_path / "big.dat"
        big.write_bytes(bytes(8 << 20))
        code = "print(c.submit(abs, -1).result(), repr(c.options(files=({!r},)).submit(abs, -2).exception()))"
        said = run(yard, code.format(str(big)))
        assert said.splitlines()[-1].startswith("1 "), said
        assert "No space left on device" in said
        subprocess.run(["mount", "-o", "remount,size=50m", str(small)], check=True)
        assert "'3'" in run(yard, f"print(repr(str(c.options(files=({str(big)!r},)).submit(abs, -3).result())))")
        yard.close()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_worker_whose_scratch_directory_was_removed_goes_on(yard: Yard, tmp_path: Path) -> None:
    """Somebody has emptied /tmp: new scripts work all the same."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    yard.master()
    yard.worker("red", yard.token(), env={"TMPDIR": str(scratch)})
    assert run(yard, "print(c.submit(abs, -1).result())").endswith("1\n")
    shutil.rmtree(scratch)
    data = tmp_path / "data.txt"
    data.write_text("here")
    assert run(yard, "print(c.submit(abs, -2).result())").endswith("2\n")
    code = f"print(c.options(files=({str(data)!r},)).submit(lambda: open('data.txt').read()).result())"
    assert run(yard, code).endswith("here\n")


def test_a_worker_without_descriptors_waits_for_some(yard: Yard) -> None:
    """It says so; its jobs start when there are some again."""
    needs(shutil.which("prlimit"), "prlimit")
    yard.master()
    worker = yard.worker("red", yard.token(), "--slots", "2")
    below = psutil.Process(worker.process.pid).children(recursive=True)
    forks = next(process for process in below if any("octapi.pool.forkserver" in part for part in process.cmdline()))
    pid = str(forks.ppid())
    here = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 (the number is all that counts)
    subprocess.run(["prlimit", "--pid", pid, f"--nofile={here + 1}:4096"], check=True)
    code = "jobs = [c.submit(time.sleep, 0.5) for _ in range(4)]; print([job.result() for job in jobs])"
    script = yard.script("master", f"import octapi, time\nwith octapi.Cluster() as c:\n    {code}")
    worker.until_says("no slot can be started", 60)
    subprocess.run(["prlimit", "--pid", pid, "--nofile=1024:4096"], check=True)
    script.until_says("[None, None, None, None]", 60)
    assert script.wait() == 0


def test_an_identity_that_cannot_be_written_is_used_all_the_same(yard: Yard, tmp_path: Path) -> None:
    """The worker says that it could not keep its news, and works."""
    needs(not os.geteuid(), "root")
    yard.master()
    first = yard.worker("red", yard.token())
    first.stop()
    home = yard.home("red")
    subprocess.run(["mount", "--bind", str(home), str(home)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(home)], check=True)
    try:
        worker: Running = yard.worker("red")
        assert "cannot be written" in until(lambda: "cannot be written" in worker.text() and worker.text())
        assert run(yard, "print(c.submit(abs, -4).result())").endswith("4\n")
        yard.close()
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)
