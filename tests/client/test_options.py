"""Options and addresses are checked where they are given, and what is wrong is named."""

import decimal
import fractions
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import octapi
from octapi.client.connect import address_of, slots_of
from octapi.errors import AddressError, OptionError, OptionTypeError, WorkerNotFound
from octapi.options import LONGEST_S, Options, options_of
from octapi.text.addresses import split

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
    st.lists(st.one_of(st.text(), st.integers(), st.binary())),
    st.dictionaries(st.text(), st.integers()),
    st.just(object()),
    st.just(Path("x")),
    st.sampled_from(["5", math.nan, math.inf, -1, 0, 10**12, 10**400, "\0", "\ud800", LONGEST_S]),
)
names = st.sampled_from(["timeout_s", "retries", "worker", "files", "files_to", "wait_for_worker", "retry", "timeout"])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(names, anything))
def test_any_options_are_taken_or_refused_by_name(given_options: dict[str, Any]) -> None:
    """What is taken is of its type and in its range; an error names the option."""
    try:
        found = options_of(given_options)
    except OptionError as error:
        said = str(error)
        found = None
    if found is None:
        assert any(name in said for name in given_options)
        return
    assert found.timeout_s is None or (type(found.timeout_s) is float and 0 < found.timeout_s <= LONGEST_S)
    assert type(found.retries) is int
    assert found.retries >= 0
    assert found.worker is None or found.worker.encode()
    for path in (*found.files, found.files_to):
        assert isinstance(path, str | Path)
    hash(found)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 10**12, 10**400, -0.0])
def test_a_time_limit_that_no_timer_can_take_is_refused(value: float) -> None:
    """ValueError, as with the standard library's own numbers."""
    with pytest.raises(ValueError, match="timeout_s"):
        Options(timeout_s=value)


@pytest.mark.parametrize("value", ["5", True, b"5", [5], decimal.Decimal(5), 5j])
def test_a_time_limit_of_another_type_is_refused(value: Any) -> None:
    """TypeError; a number of another library is a number."""
    with pytest.raises(TypeError, match="timeout_s"):
        Options(timeout_s=value)
    numpy = pytest.importorskip("numpy")
    assert Options(timeout_s=numpy.float32(2), retries=numpy.int64(3)) == Options(timeout_s=2, retries=3)
    assert Options(timeout_s=fractions.Fraction(1, 2)).timeout_s == 0.5  # type: ignore[arg-type]


def test_an_unknown_option_is_refused_with_the_one_that_was_meant() -> None:
    """At the call of options, before any job."""
    with octapi.Cluster("local", slots=1) as cluster:
        with pytest.raises(OptionTypeError, match=r"'retry'\. Did you mean retries"):
            cluster.options(retry=3)
        with pytest.raises(TypeError, match="Did you mean timeout_s"):
            cluster.options(timeout=3)
        with pytest.raises(ValueError, match="retries"):
            cluster.options(retries=-1)
        assert cluster.options(files="no-such", retries=0)  # whether files are there is seen when they are read
        with pytest.raises(WorkerNotFound, match="'no-such' is not there; there are: "):
            cluster.options(worker="no-such").submit(abs, 1)  # none can ever join this computer's own
        with pytest.raises(LookupError):
            cluster.options(worker="no-such", wait_for_worker=False).map(abs, [1])
        here = cluster.workers()[0].name
        assert cluster.options(worker=here, wait_for_worker=False).submit(abs, -1).result(60) == 1


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"[a-z0-9.:\[\]/ %-]{0,30}")))
def test_any_address_is_split_or_refused(address: str) -> None:
    """A host that can be looked up and a port that can be connected to, or one clear error."""
    try:
        host, port = split(address, 8786)
    except AddressError as error:
        said, host, port = str(error), "", 0
    if not host:
        assert "Write host:port" in said
        return
    assert 0 < port < 65536


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("127.0.0.1", ("127.0.0.1", 8786)),
        (" pi.local:9000 ", ("pi.local", 9000)),
        ("tcp://10.0.0.1:1", ("10.0.0.1", 1)),
        ("::1", ("::1", 8786)),
        ("[::1]", ("::1", 8786)),
        ("[fe80::1%eth0]:9000", ("fe80::1%eth0", 9000)),
        ("münchen.example", ("münchen.example", 8786)),
    ],
)
def test_addresses_are_written_as_people_write_them(address: str, place: tuple[str, int]) -> None:
    """With or without a port, IPv4, IPv6 with brackets, names."""
    assert split(address, 8786) == place


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1",
        "h:abc",
        "h:99999",
        "h:0",
        ":1",
        "h:",
        "",
        "a:b:1",
        "[::1",
        "a b:1",
        "x" * 70,
        "h:²",
        "::1:",
    ],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """With what is wrong about it."""
    with pytest.raises(AddressError):
        split(address, 8786)


@pytest.mark.parametrize("address", [("127.0.0.1", 1), b"127.0.0.1:1", 1.5])
def test_an_address_of_another_type_is_refused(address: Any) -> None:
    """Before anything is connected to."""
    with pytest.raises(AddressError, match="must be a text"):
        octapi.Cluster(address)


def test_an_address_may_be_a_path_and_local_in_any_case() -> None:
    """An identity's path as a Path; spaces around do not matter."""
    assert address_of(Path("a") / "client.json") == str(Path("a") / "client.json")
    assert address_of(" Local ") == "local"


@pytest.mark.parametrize("slots", [0, -1, "2", 1.5, True, 10**6, [1]])
def test_slots_are_a_number_of_processes(slots: Any) -> None:
    """Nothing else is taken, and nothing hangs."""
    with pytest.raises(ValueError, match="slots is"):
        octapi.Cluster("local", slots=slots)
    assert slots_of(2) == 2
