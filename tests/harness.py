"""Real masters and workers, each with a home of its own, on loopback."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OCTAPI = [sys.executable, "-m", "octapi.cli.app"]


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until a condition holds, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def clean_environment() -> dict[str, str]:
    """Return the environment without the settings that other tests made; hosts of the tests reach each other."""
    return {key: value for key, value in os.environ.items() if not key.startswith("OCTAPI_")} | {"OCTAPI_BRIDGED": "0"}


class Running:
    """A process of OctaPi and what it said."""

    def __init__(self, command: list[str], home: Path, **options: Any) -> None:
        self.home = home
        self.said: list[str] = []
        env = clean_environment()
        env |= {"OCTAPI_HOME": str(home)} | options.pop("env", {})
        given = options.pop("given", None)
        self.process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        if given is not None:
            assert self.process.stdin is not None
            self.process.stdin.write(given + "\n")
            self.process.stdin.close()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)

    def text(self) -> str:
        """Return all it has said."""
        return "".join(self.said)

    def until_says(self, words: str, seconds: float = 30.0, times: int = 1) -> str:
        """Wait until it has said something, and return all it said."""
        deadline = time.monotonic() + seconds
        while self.text().count(words) < times:
            assert time.monotonic() < deadline, f"it never said {words!r}:\n{self.text()}"
            assert self.process.poll() is None or words in self.text() or not self._reader.is_alive(), self.text()
            assert self.process.poll() is None or self.text().count(words) >= times or self._reader.is_alive(), (
                f"it ended without saying {words!r}:\n{self.text()}"
            )
            time.sleep(0.02)
        return self.text()

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for its end, and return its exit code."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Yard:
    """Starts masters and workers, and ends them all."""

    def __init__(self, place: Path) -> None:
        self.place = place
        # every account may pass through it: a master that root starts has its scheduler under another one
        self.states = Path(tempfile.mkdtemp(prefix="octapi-state-"))
        self.states.chmod(0o711)
        self.running: list[Running] = []

    def home(self, name: str) -> Path:
        """Return the home of one device."""
        path = self.place / name
        path.mkdir(mode=0o700, exist_ok=True)
        if path.stat().st_mode & 0o777 != 0o700:
            path.chmod(0o700)
        return path

    def start(self, home: str, *arguments: str, prefix: tuple[str, ...] = (), **options: Any) -> Running:
        """Start a command of OctaPi on a device."""
        options["env"] = {"OCTAPI_STATE": str(self.states / home)} | options.get("env", {})
        found = Running([*prefix, *OCTAPI, *arguments], self.home(home), **options)
        self.running.append(found)
        return found

    def master(
        self, *arguments: str, home: str = "master", ports: tuple[str, str, str] = ("0", "0", "0"), **options: Any
    ) -> Running:
        """Start a master on loopback, and wait until it is ready."""
        where = () if {"--page", "--insecure"} & set(arguments) else ("--no-page",)
        where += () if "--listen" in arguments else ("--listen", "127.0.0.1")
        flags = ("--join-port", ports[0], "--port", ports[1], "--dask-port", ports[2])
        found = self.start(home, "master", *where, *flags, *arguments, **options)
        found.until_says("joins at")
        return found

    def worker(
        self, name: str, token: str = "", *arguments: str, home: str = "", ssh_port: int = 0, **options: Any
    ) -> Running:
        """Start a worker, and wait until it works."""
        found = self.start_worker(name, token, *arguments, home=home, ssh_port=ssh_port, **options)
        found.until_says(f"{name} works for")
        return found

    def start_worker(
        self, name: str, token: str = "", *arguments: str, home: str = "", ssh_port: int = 0, **options: Any
    ) -> Running:
        """Start a worker."""
        flags = ("--name", name, "--slots", "1", "--ssh-port", str(ssh_port))
        if token:
            options["given"] = token
            flags = ("-", *flags)
        return self.start(home or name, "worker", *flags, *arguments, **options)

    def command(self, home: str, *arguments: str, code: int = 0, **options: Any) -> str:
        """Run a command to its end, and return what it printed."""
        env = clean_environment()
        env |= {"OCTAPI_HOME": str(self.home(home)), "OCTAPI_PATIENCE_S": "5"} | options.pop("env", {})
        prefix = options.pop("prefix", ())
        done = subprocess.run(
            [*prefix, *OCTAPI, *arguments], capture_output=True, text=True, check=False, timeout=60, env=env, **options
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def token(self, *arguments: str, home: str = "master", **options: Any) -> str:
        """Make a token."""
        return self.command(home, "token", "create", "--show", *arguments, **options).split()[-1]

    def run(self, home: str, code: str, *, exit_code: int = 0, **options: Any) -> str:
        """Run Python code on a device, and return what it printed."""
        env = clean_environment()
        env |= {"OCTAPI_HOME": str(self.home(home)), "OCTAPI_PATIENCE_S": "10"} | options.pop("env", {})
        done = subprocess.run(
            [*options.pop("prefix", ()), sys.executable, "-c", code],
            capture_output=True, text=True, check=False, timeout=90, env=env, **options,
        )  # fmt: skip
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stderr + done.stdout

    def script(self, home: str, code: str) -> Running:
        """Start Python code on a device."""
        found = Running([sys.executable, "-c", code], self.home(home))
        self.running.append(found)
        return found

    def close(self) -> None:
        """End everything, the youngest first."""
        for running in reversed(self.running):
            running.stop()
        if self.states.exists():  # some tests end everything earlier
            shutil.rmtree(self.states)


def ports_of(master: Running) -> dict[str, int]:
    """Return where a master listens."""
    found = re.search(r"joins at (\d+), clients at (\d+), workers at (\d+)", master.text())
    assert found is not None
    return dict(zip(("join", "clients", "dask"), map(int, found.groups()), strict=True))
