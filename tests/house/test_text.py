"""Addresses, sizes and times in words, and errors by their names."""

import socket

import pytest

from octapi import errors
from octapi.device import accounts
from octapi.errors import AddressError, SettingsError
from octapi.protocol.computation import minor
from octapi.telemetry import exporter
from octapi.text import units
from octapi.text.addresses import split
from octapi.trust.connection_limit import ConnectionLimit


@pytest.mark.parametrize("bad", ["host:", "host:x", "host:0", "host:65536", "host:-1", "host:٣", ":1", "a b:1"])
def test_a_bad_port_or_host_is_refused_wherever_an_address_is_read(bad: str) -> None:
    with pytest.raises(AddressError, match="is not an address"):
        split(bad, 8785)
    if bad != "host:0":  # whoever listens may let the system choose
        with pytest.raises(SettingsError, match="is not HOST:PORT"):
            exporter.place(bad)


def test_where_a_port_must_be_named_none_is_guessed() -> None:
    assert split("pi:1", None) == ("pi", 1)
    assert split("[::1]:1", None) == ("::1", 1)
    assert exporter.place("127.0.0.1:0") == ("127.0.0.1", 0)
    for text in ("pi", "::1", "[::1]", "", "host:"):
        with pytest.raises(AddressError):
            split(text, None)


def test_times_and_sizes_are_written_for_people() -> None:
    assert [units.rough_time(s) for s in (5, 119, 120, 7200, 200_000)] == ["5 s", "119 s", "2 min", "2 h", "2 days"]
    assert [units.ago(s) for s in (5, 120, 7200, 200_000)] == ["just now", "2 minutes ago", "2 hours ago", "2 days ago"]
    assert [units.work_time(s) for s in (5, 150, 9000)] == ["5.0 s", "2.5 min", "2.5 h"]
    assert [units.clock_time(s) for s in (-1, 59.6, 125, 11_220)] == ["0 s", "1:00 min", "2:05 min", "3:07 h"]
    assert [units.byte_size(n) for n in (1024, 1536, 3 << 30)] == ["1024 B", "1.5 K", "3.0 G"]
    assert [units.seconds_of(text) for text in ("90", "1.5m", "24h", "30d")] == [90, 90, 86_400, 2_592_000]
    assert units.days(2_592_000) == "30 days"


def test_an_error_that_another_process_names_is_one_of_ours_or_the_usual_one() -> None:
    assert errors.by_name("NotAMember", errors.TrustError) is errors.NotAMember
    for name in ("JobError", "time", "Any", "nothing", None, 7, "__builtins__", "E"):
        assert errors.by_name(name, errors.TrustError) is errors.TrustError
    assert errors.by_name("x", errors.ClusterError, errors.VersionMismatch) is errors.VersionMismatch


def test_the_kernel_says_who_is_at_the_other_end_of_a_socket() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert accounts.peer_uid(one) == accounts.os.geteuid()


def test_connections_are_limited_together_and_from_each_address() -> None:
    limit = ConnectionLimit(3, 2)
    with limit.entered("a") as first, limit.entered("a") as second, limit.entered("a") as third:
        assert (first, second, third) == (True, True, False)
        assert not limit.has_room("b")
    assert not limit.here
    limit.enter("a")
    limit.enter("a")
    assert not limit.has_room("a")
    assert limit.has_room("a", is_many=True)
    assert limit.has_room("b")
    assert not limit.is_over


def test_bytecode_depends_on_the_first_two_parts_of_a_version() -> None:
    assert minor("3.13.1") == minor("3.13.0rc2") != minor("3.1.3")
