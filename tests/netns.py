"""Separate hosts on one switch, made with network namespaces; they need root and the package iproute2."""

import os
import shutil
import subprocess


def can_make_rooms() -> bool:
    """Say whether this process may make them."""
    return not os.geteuid() and bool(shutil.which("ip")) and bool(shutil.which("iptables"))


def ip(*arguments: str) -> None:
    """Run one command of iproute2."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


class Room:
    """Hosts on one switch, which has no way to anywhere else."""

    def __init__(self) -> None:
        self.mark = f"o{os.getpid() % 100000}"
        self.hosts: list[str] = []
        ip("netns", "add", self.mark)
        ip("-n", self.mark, "link", "add", "switch", "type", "bridge")
        ip("-n", self.mark, "link", "set", "switch", "up")

    def host(self, name: str, address: str) -> tuple[str, ...]:
        """Plug one more host in, and return what starts a command there."""
        place, plug = f"{self.mark}{name}", f"p{len(self.hosts)}"
        ip("netns", "add", place)
        self.hosts.append(place)
        ip("-n", self.mark, "link", "add", plug, "type", "veth", "peer", "name", "eth0", "netns", place)
        ip("-n", self.mark, "link", "set", plug, "master", "switch", "up")
        ip("-n", place, "link", "set", "lo", "up")
        ip("-n", place, "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", place, "link", "set", "eth0", "up")
        ip("-n", place, "route", "add", "default", "dev", "eth0")
        return ("ip", "netns", "exec", place)

    def inside(self, name: str, *arguments: str) -> None:
        """Change something on a host."""
        ip("-n", f"{self.mark}{name}", *arguments)

    def close(self) -> None:
        """Take it all away."""
        for place in (*self.hosts, self.mark):
            ip("netns", "del", place)
