"""Finding the master in the local network by multicast DNS, with no server and no internet (RFC 6762, RFC 6763).

A master announces the service ``_octapi._tcp`` with its cluster's name and id, so that two clusters in one room do not
mix.  What is found is only a place to ask: certificates decide whether it is the master.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psutil

from octapi.settings import variable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SERVICE: Final = "_octapi._tcp.local."
#: how long to listen for masters, in seconds
BROWSE_S: Final = 2.0
#: how much longer a process that listens may take, in seconds
HANG_S: Final = 30.0
#: interfaces that lead to containers and virtual machines of this very device, or nowhere
INNER: Final = tuple("lo docker br- veth balena supervisor resin cni flannel virbr lxc podman tun tap".split())

NET: Final = Path("/sys/class/net")


class Announced(NamedTuple):
    """A master that announces itself: its cluster's name and id, and ``host:port`` of its doors."""

    cluster: str
    cluster_id: str
    addresses: tuple[str, ...]


def outward(names: Mapping[str, Any], is_up: Mapping[str, bool], bridged: Collection[str] = ()) -> list[str]:
    """Return the IPv4 addresses under which other devices may reach this one.

    ``names`` maps interfaces to what :func:`psutil.net_if_addrs` returns.  Link-local addresses come last: they are
    for networks that have no others.  Those of ``bridged`` interfaces are left out: they mean nothing on other devices.
    """
    found = [
        entry.address
        for name, entries in names.items()
        if is_up.get(name) and not name.startswith(INNER) and name not in bridged
        for entry in entries
        if entry.family == socket.AF_INET and not entry.address.startswith("127.")
    ]
    return sorted(found, key=lambda address: address.startswith("169.254."))


def own_addresses() -> list[str]:
    """Return this device's addresses for others."""
    stats, names = psutil.net_if_stats(), psutil.net_if_addrs()
    is_up = {name: row.isup for name, row in stats.items()}
    return outward(names, is_up, [name for name in names if is_bridged(name)] if is_container() else ())


def inner_addresses() -> list[str]:
    """Return a container's addresses on its bridges: good for itself, its host, and containers beside it."""
    stats, names = psutil.net_if_stats(), psutil.net_if_addrs()
    is_up = {name: row.isup for name, row in stats.items()}
    outside = own_addresses()
    return [address for address in outward(names, is_up) if address not in outside]


def is_inner(address: str) -> bool:
    """Say whether ``host:port`` means something to this container only, and to those beside it."""
    host = address.rpartition(":")[0]
    return is_container() and not own_addresses() and (host.startswith("127.") or host in inner_addresses())


def is_bridged(name: str, place: Path = NET) -> bool:
    """Say whether an interface is one end of a pair whose other end is in another network namespace.

    That is how an engine ties a container to a bridge.  An interface of the device itself is its own link, and others
    that have a parent (VLANs, macvlan), whose addresses are the network's, name their type.
    """
    try:
        link, index = ((place / name / fact).read_text().strip() for fact in ("iflink", "ifindex"))
        return link != index and "DEVTYPE=" not in (place / name / "uevent").read_text()
    except OSError:
        return False


def is_container() -> bool:
    """Say whether this process runs in a container of Docker, balena or Podman, whose addresses mean nothing outside.

    The variable OCTAPI_BRIDGED says it better where others can reach those addresses, as those of a Kubernetes pod.
    """
    told = variable("bridged")
    return told != "0" if told else any(Path(place).exists() for place in ("/.dockerenv", "/run/.containerenv"))


def is_own(address: str) -> bool:
    """Say whether an address is one of this device's, whatever it is good for."""
    return any(entry.address == address for entries in psutil.net_if_addrs().values() for entry in entries)


class Announcement:
    """Announces a master for as long as it is open."""

    def __init__(self, cluster: str, cluster_id: str, port: int) -> None:
        self.facts = {"cluster": cluster, "id": cluster_id}
        self.port = port
        self._zeroconf: Any = None

    async def open(self, addresses: list[str]) -> None:
        """Announce it at these addresses.  Raises OSError where multicast does not work."""
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

        await self.close()
        if not addresses:
            return
        self._zeroconf = AsyncZeroconf(interfaces=addresses, ip_version=IPVersion.V4Only)
        info = AsyncServiceInfo(
            SERVICE,
            f"{self.facts['cluster']} {self.facts['id'][:6]}.{SERVICE}",
            addresses=[socket.inet_aton(address) for address in addresses],
            port=self.port,
            properties=self.facts,
            server=f"octapi-{self.facts['id'][:12]}.local.",
        )
        await self._zeroconf.async_register_service(info, allow_name_change=True)

    async def close(self) -> None:
        """Take it back."""
        if self._zeroconf is not None:
            await self._zeroconf.async_unregister_all_services()
            await self._zeroconf.async_close()
            self._zeroconf = None


async def browse(seconds: float = BROWSE_S, cluster_id: str = "") -> list[Announced]:
    """Listen for masters; end early once the one of ``cluster_id`` was heard."""
    from zeroconf import IPVersion
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

    addresses = own_addresses()
    if not addresses:
        return []
    heard: set[str] = set()
    news = asyncio.Event()

    def on_change(zeroconf: object, service_type: str, name: str, state_change: object) -> None:
        heard.add(name)
        news.set()

    found: dict[str, Announced] = {}
    zeroconf = AsyncZeroconf(interfaces=addresses, ip_version=IPVersion.V4Only)
    browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[on_change])
    try:
        async with asyncio.timeout(seconds):
            while not (cluster_id and any(row.cluster_id == cluster_id for row in found.values())):
                await news.wait()
                news.clear()
                for name in heard - found.keys():
                    info = AsyncServiceInfo(SERVICE, name)
                    if await info.async_request(zeroconf.zeroconf, 1000):
                        found[name] = announced(info.decoded_properties, info.parsed_addresses(), info.port or 0)
    except TimeoutError:
        pass
    finally:
        await browser.async_cancel()
        await zeroconf.async_close()
    return list(found.values())


def announced(properties: Mapping[str, str | None], addresses: list[str], port: int) -> Announced:
    """Read one announcement; anybody can make one, so nothing in it is believed."""
    cluster, ident = str(properties.get("cluster"))[:63], str(properties.get("id"))[:16]
    return Announced(cluster, ident, tuple(f"{address}:{port}" for address in addresses[:8]))


def browse_apart(seconds: float = BROWSE_S, cluster_id: str = "") -> list[Announced]:
    """Browse in a process of its own, so that a small board has its memory back afterwards.

    A process that cannot be started, or hangs, has found nothing: whoever looks for a master looks again.
    """
    command = [sys.executable, "-m", "octapi.device.discovery", str(seconds), cluster_id]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds + HANG_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return []
    if done.returncode:
        return []
    return [Announced(row[0], row[1], tuple(row[2])) for row in json.loads(done.stdout)]


def doors_except(tried: Collection[str]) -> list[str]:
    """Return ``host:port`` of all doors that announce themselves, without those that were tried already."""
    return [address for row in browse_apart() for address in row.addresses if address not in tried]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(browse(float(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))))
