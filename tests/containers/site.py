"""Bare devices: Debian with nothing but Python, with and without systemd, on a network without internet."""

import io
import subprocess
import tarfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.containers.engine import ROOT, docker, inspect
from tests.harness import until

BARE, SYSTEMD = "octapi-test-bare", "octapi-test-systemd"
#: what an installation from a checkout needs of it
SOURCES = ("src", "compat", "scripts", "examples", "pyproject.toml", "README.md", "LICENSE")
APT = "RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends"
FILES = {
    BARE: f"FROM debian:trixie-slim\n{APT} python3\n",
    SYSTEMD: f"FROM debian:bookworm-slim\n{APT} systemd systemd-sysv dbus python3 openssh-server openssh-client"
    " && rm -f /etc/ssh/ssh_host_*\n",
}
#: how systemd boots in a container without privileges
BOOT = (
    *("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--cgroupns=host"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
)


def build() -> None:
    """Build both images, side by side."""

    def one(name: str, suite: str) -> None:
        done = subprocess.run([ROOT / "scripts" / "base-image", suite], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        docker("build", "-q", "-t", name, "-", input=FILES[name], stdin=None, seconds=400)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, (BARE, SYSTEMD), ("trixie", "bookworm")))


def sources() -> bytes:
    """Return the checkout, as far as an installation needs it, as a tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in SOURCES:
            archive.add(ROOT / name, name, filter=lambda row: None if "__pycache__" in row.name else row)
    return buffer.getvalue()


class Site:
    """A network without internet, and devices on it."""

    def __init__(self) -> None:
        self.name = f"octapi-site-{uuid.uuid4().hex[:8]}"
        docker("network", "create", "--internal", self.name)

    def device(self, name: str, image: str = BARE, *, has_internet: bool = False) -> "Device":
        """Start a device."""
        command = ("/sbin/init",) if image == SYSTEMD else ("sleep", "infinity")
        options = BOOT if image == SYSTEMD else ("--init",)
        network = () if has_internet else ("--network", self.name)
        label = ("--label", f"site={self.name}", "--hostname", name, "--name", f"{self.name}-{name}")
        docker("run", "-d", *label, *options, *network, image, *command)
        if has_internet:
            docker("network", "connect", self.name, f"{self.name}-{name}")
        found = Device(f"{self.name}-{name}", self.name)
        if image == SYSTEMD:
            until(lambda: found.sh("systemctl is-system-running", code=None).strip() in ("running", "degraded"))
        return found

    def close(self) -> None:
        """End all devices, and the network."""
        names = docker("ps", "-aq", "--filter", f"label=site={self.name}").split()
        if names:
            docker("rm", "-f", "-v", *names)
        docker("network", "rm", self.name)


class Device:
    """One device."""

    def __init__(self, name: str, network: str) -> None:
        self.name = name
        #: what its installation said
        self.said = ""
        self.address = inspect(name, f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}')

    def sh(self, line: str, *, user: str = "root", **options: Any) -> str:
        """Run a line of shell to its end, and return what it printed."""
        return docker("exec", "-i", "-u", user, self.name, "sh", "-c", line, **options)

    def background(self, line: str) -> None:
        """Start a line of shell; what it says is in /tmp/said."""
        docker("exec", "-d", self.name, "sh", "-c", f"{{ {line}; }} >/tmp/said 2>&1")

    def until_says(self, words: str, seconds: float = 60) -> str:
        """Wait until what runs in the background has said something."""
        until(lambda: words in self.sh("cat /tmp/said", code=None), seconds)
        return self.sh("cat /tmp/said")

    def put(self, path: str, text: str) -> None:
        """Write a file."""
        docker("exec", "-i", self.name, "sh", "-c", 'cat >"$0"', path, input=text, stdin=None)

    def unpack(self, data: bytes, path: str) -> None:
        """Unpack a tar file."""
        self.sh(f"mkdir -p {path}")
        subprocess.run(["docker", "exec", "-i", self.name, "tar", "-x", "-C", path], input=data, check=True)

    def python(self, text: str, **options: Any) -> str:
        """Run code with the system's own python3, and return what it printed."""
        return docker("exec", "-w", "/tmp", self.name, "python3", "-c", text, **options)


def carry(source: Device, path: str, target: Device, place: str) -> None:
    """Carry the files of a directory from one device to another, as a memory stick would."""
    data = subprocess.run(
        ["docker", "exec", source.name, "tar", "-c", "-C", path, "."], capture_output=True, check=True
    ).stdout
    target.unpack(data, place)
