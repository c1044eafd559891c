"""Which addresses a device tells others, from what the kernel says of its interfaces."""

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from octapi.device import discovery
from octapi.errors import TrustError
from octapi.trust.authority import local_cluster
from octapi.trust.names import WORKER
from octapi.worker import certificate_renewer


def entry(address: str) -> SimpleNamespace:
    return SimpleNamespace(family=socket.AF_INET, address=address)


def test_addresses_of_bridges_and_of_interfaces_that_lead_inside_are_not_told() -> None:
    """And those that only work without a network come last."""
    names = {
        "lo": [entry("127.0.0.1")], "docker0": [entry("172.17.0.1")], "wlan0": [entry("169.254.3.4")],
        "eth0": [entry("192.168.16.2")], "end0": [entry("192.168.1.9")], "down0": [entry("10.0.0.1")],
    }  # fmt: skip
    is_up = {name: name != "down0" for name in names}

    assert discovery.outward(names, is_up) == ["192.168.16.2", "192.168.1.9", "169.254.3.4"]
    assert discovery.outward(names, is_up, ["eth0"]) == ["192.168.1.9", "169.254.3.4"]


@pytest.mark.parametrize(
    ("iflink", "uevent", "is_bridged"),
    [("12", "INTERFACE=eth0", True), ("5", "INTERFACE=eth0", False), ("2", "DEVTYPE=macvlan\nINTERFACE=eth0", False)],
    ids=["a pair's end", "a card", "a part of a card"],
)
def test_a_pairs_end_is_told_from_a_card(tmp_path: Path, iflink: str, uevent: str, is_bridged: bool) -> None:
    """Whatever range of addresses the engine gave its bridge."""
    place = tmp_path / "eth0"
    place.mkdir()
    for name, text in (("ifindex", "5"), ("iflink", iflink), ("uevent", uevent)):
        (place / name).write_text(f"{text}\n")

    assert discovery.is_bridged("eth0", tmp_path) is is_bridged
    assert not discovery.is_bridged("eth9", tmp_path)


def test_a_search_that_hangs_or_cannot_start_has_found_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for a master goes on: a worker must not end with its jobs because of it."""
    monkeypatch.setattr(discovery, "HANG_S", 0.0)
    assert discovery.browse_apart(0.01) == []
    monkeypatch.setattr(discovery.sys, "executable", "/nowhere/python")
    assert discovery.browse_apart(0.01) == []


def test_a_renewal_that_hangs_or_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is an error of trust, which those who renew expect."""
    member = certificate_renewer.CertificateRenewer(local_cluster().identity(WORKER, "red"), tmp_path / "worker.json")
    monkeypatch.setattr(certificate_renewer, "RENEW_S", 0.01)
    with pytest.raises(TrustError, match="timed out"):
        asyncio.run(member.renew("127.0.0.1:9"))
    monkeypatch.setattr(certificate_renewer.sys, "executable", "/nowhere/python")
    with pytest.raises(TrustError, match="No such file"):
        asyncio.run(member.renew("127.0.0.1:9"))
