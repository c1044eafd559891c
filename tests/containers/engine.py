"""Real containers: an image of this checkout, compose projects of the tests' own, and their ends."""

import json
import os
import shutil
import subprocess
import threading
import uuid
from pathlib import Path
from typing import Any

from tests.harness import until

ROOT = Path(__file__).parent.parent.parent
IMAGE = "octapi-test"


def has_engine() -> bool:
    """Say whether a container engine answers."""
    return bool(shutil.which("docker")) and subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def docker(*arguments: str, code: int | None = 0, seconds: float = 120, **options: Any) -> str:
    """Run a command of the engine to its end, and return what it printed; ``code`` None takes any end."""
    done = subprocess.run(
        ["docker", *arguments],
        **{"capture_output": True, "text": True, "check": False, "timeout": seconds, "stdin": subprocess.DEVNULL}
        | options,
    )
    assert code is None or done.returncode == code, f"docker {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def inspect(name: str, form: str) -> str:
    """Return one fact of a container or image."""
    return docker("inspect", "--format", form, name).strip()


class Project:
    """One compose project."""

    def __init__(self, *files: str | Path, **env: str) -> None:
        self.name = f"octapi-test-{uuid.uuid4().hex[:8]}"
        self.files = [argument for file in files for argument in ("-f", str(ROOT / "deploy" / file))]
        self.env = dict(os.environ) | {"OCTAPI_IMAGE": IMAGE, "OCTAPI_PAGE_PORT": "0"} | env

    def compose(self, *arguments: str, **options: Any) -> str:
        """Run a command of compose."""
        return docker("compose", "-p", self.name, *self.files, *arguments, env=self.env, **options)

    def containers(self, service: str = "worker") -> list[str]:
        """Return the names of a service's containers that run."""
        return self.compose("ps", "--format", "{{.Name}}", service, "--status", "running").split()

    def exec(self, container: str, *command: str, **options: Any) -> str:
        """Run a command in a container, by the name of a service or of a container."""
        name = container if "-" in container else f"{self.name}-{container}-1"
        return docker("exec", name, *command, **options)

    def nodes(self) -> list[dict[str, Any]]:
        """Return the workers that are here, as the master tells."""
        text = self.exec("master", "octapi", "nodes", "--json", code=None)
        if not text.startswith("["):
            return []
        rows, _ = json.JSONDecoder().raw_decode(text)  # what was said on stderr may stand behind it
        return [row for row in rows if row["online"]]

    def up(self, workers: int = 0, *more: str) -> "Project":
        """Start it, and wait until all workers work."""
        scale = ("--scale", f"worker={workers}") if workers else ()
        self.compose("up", "-d", "--no-build", *scale, *more)
        if workers:
            until(lambda: len(self.nodes()) == workers, 60)
        return self

    def put(self, name: str, text: str) -> None:
        """Write a file into the master's directory for temporary files."""
        docker("exec", "-i", f"{self.name}-master-1", "sh", "-c", 'cat >"$0"', f"/tmp/{name}", input=text, stdin=None)

    def python(self, code: str, **options: Any) -> str:
        """Run Python code on the master, with the system's own python3, and return what it printed."""
        return self.exec("master", "python3", "-c", code, **options)

    def script(self, code: str) -> "Script":
        """Start Python code on the master."""
        return Script(["docker", "exec", f"{self.name}-master-1", "python3", "-u", "-c", code])

    def down(self) -> None:
        """End everything, with its volumes and networks."""
        self.compose("down", "-v", "-t", "5", "--remove-orphans")


class Script:
    """A script that runs in a container, and what it said."""

    def __init__(self, command: list[str]) -> None:
        self.said = ""
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    def until_says(self, words: str, seconds: float = 60) -> None:
        """Wait until it has said something."""
        until(lambda: words in self.said or not self._reader.is_alive(), seconds)
        assert words in self.said, self.said

    def end(self, seconds: float = 120) -> str:
        """Wait for its good end, and return all it said."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert code == 0, self.said
        return self.said
