"""Named attacks on a real cluster, and what strangers may send, at random."""

import asyncio
import string
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from octapi.device import accounts
from octapi.errors import OctapiError, TokenRefused
from octapi.protocol import wire
from octapi.trust import certificates, names
from octapi.trust.authority import Authority, new_state
from octapi.trust.enrolment_server import EnrolmentServer
from octapi.trust.names import WORKER, label
from octapi.trust.token import Token, parse
from tests.security import open_python
from tests.security.attack_cluster import Field
from tests.security.attacks import ATTACKS, run_all
from tests.security.jobs_do import have_accounts


@pytest.mark.timeout(900)
def test_every_attack_is_refused_and_the_job_that_runs_meanwhile_finishes(tmp_path: Path) -> None:
    """The table is printed when it fails; ``python -m tests.security.attacks`` prints it always."""
    assert len(ATTACKS) >= 290
    tmp_path.chmod(0o700)
    field = Field(tmp_path)
    try:
        rows = run_all(field)
        field.script.until_says("SUM", 120)
    finally:
        field.close()

    assert not [row for row in rows if row[1] is False], "\n".join(map(str, rows))
    untried = [row[0] for row in rows if row[1] is None]
    assert not untried or not have_accounts(), untried
    assert f"SUM {sum(range(1200))}" in field.script.text()
    assert "Traceback" not in field.master.text()


@pytest.mark.timeout(400)
def test_attacks_that_need_accounts_are_tried() -> None:
    """Where other accounts may not enter the Python that runs this, another one runs the attacks of jobs."""
    assert accounts.find(accounts.SLOT_ACCOUNT) != accounts.find(accounts.SCHEDULER_ACCOUNT)
    if have_accounts():
        return
    with tempfile.TemporaryDirectory(prefix="octapi-python-") as place:
        Path(place).chmod(0o755)
        python = open_python.make(Path(place) / "venv")
        if not python:
            pytest.skip("there is no Python of this version that other accounts may enter, with what it needs")
        asked = [python, "-m", "tests.security.attacks", "job: *", "stranger on the master's computer: *"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=360)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 not tried" in done.stdout


# ---- at random: the token's parser

ADDRESSES = st.lists(st.text(string.ascii_letters + string.digits + ".:[]-", min_size=1, max_size=30), max_size=4)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16), ADDRESSES)
def test_a_token_is_read_as_it_was_written(pin: bytes, secret: bytes, addresses: list[str]) -> None:
    """Whatever its parts are."""
    token = Token(pin, "abcdef", secret, tuple(addresses))

    assert parse(token.text()) == token
    assert secret.hex() not in repr(token)


@given(st.one_of(st.text(max_size=3000), st.builds("octapi1.{}.{}.{}".format, st.text(), st.text(), st.text())))
@example("octapi1.....")
@example("octapi1." + "A" * 3000)
def test_what_is_no_token_is_refused_with_a_message(text: str) -> None:
    """Never with another error, and the message does not repeat it."""
    with pytest.raises(TokenRefused) as caught:
        parse(text)
    if len(text.strip()) > 12:
        assert text.strip() not in str(caught.value)


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_a_typing_mistake_is_noticed(place: int, letter: str) -> None:
    """One letter that changes, wherever it is."""
    text = Token(b"p" * 32, "abcdef", b"s" * 16, ("10.0.0.1:8785",)).text()
    place %= len(text)
    spoilt = text[:place] + letter + text[place + 1 :]
    if spoilt.strip() != text:
        with pytest.raises(TokenRefused):
            parse(spoilt)


@given(st.text())
def test_a_label_is_always_a_name(text: str) -> None:
    """Whatever a user or host is called."""
    assert names.check_name(label(text))


# ---- at random: requests at the door

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text(max_size=40)
    | st.binary(max_size=40)
    | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
REQUESTS = VALUES | st.fixed_dictionaries(
    {"op": st.sampled_from(["join", "renew", "call", "leave", "__init__", ""]) | VALUES},
    optional=dict.fromkeys(("token", "secret", "role", "name", "csr", "ssh_key"), VALUES),
)


class Tls:
    """What a connection's TLS says of itself: no protocol was agreed on, and no context is known."""

    context = None

    @staticmethod
    def selected_alpn_protocol() -> None:
        return None


class Line:
    """The two ends of a connection, in memory: the door's own code, without the cost of TLS for each try."""

    def __init__(self, said: bytes) -> None:
        self.reader = asyncio.StreamReader()
        self.reader.feed_data(said)
        self.reader.feed_eof()
        self.heard = bytearray()

    def write(self, data: bytes) -> None:
        self.heard += data

    async def drain(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass

    def close(self) -> None:
        pass

    def get_extra_info(self, name: str) -> object:
        return {"peername": ("192.0.2.9", 1), "peercert": None, "ssl_object": Tls}[name]


def answers(door: EnrolmentServer, said: bytes) -> list[dict[str, object]]:
    """Return what the door answers to one connection, greeting first."""

    async def talk() -> bytes:
        line = Line(said)
        await door._serve(line.reader, line)  # type: ignore[arg-type]
        return bytes(line.heard)

    heard, found = asyncio.run(talk()), []
    while heard:
        (size,) = wire.LENGTH.unpack(heard[: wire.LENGTH.size])
        found.append(wire.unpack(heard[wire.LENGTH.size : wire.LENGTH.size + size]))
        heard = heard[wire.LENGTH.size + size :]
    return found


@pytest.fixture(scope="module")
def door() -> EnrolmentServer:
    return EnrolmentServer(Authority(new_state("school", 1e9)))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=REQUESTS)
def test_no_request_of_a_stranger_lets_it_in_or_hurts_the_door(door: EnrolmentServer, request: object) -> None:
    """It is answered with an error, or the line is cut; nobody is written into the ledger."""
    found = answers(door, wire.pack(request))

    assert 1 <= len(found) <= 2
    assert all("ok" not in answer for answer in found)
    assert not door.authority.ledger.members
    assert not door.limit.here


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.binary(max_size=400))
def test_no_bytes_of_a_stranger_hurt_the_door(door: EnrolmentServer, said: bytes) -> None:
    """Frames that end early, are too long, or hold no msgpack."""
    found = answers(door, said)

    assert len(found) <= 2
    assert not door.authority.ledger.members
    assert not door.limit.here


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    other=st.dictionaries(st.sampled_from(["role", "name", "csr", "ssh_key", "secret", "token"]), VALUES, min_size=1)
)
def test_a_request_with_a_good_token_and_one_odd_part_is_refused_or_makes_a_good_member(
    door: EnrolmentServer, other: dict[str, object]
) -> None:
    """What is written into the ledger is always a worker with a proper name."""
    authority = Authority(new_state("school", 1e9))
    token = authority.new_token(WORKER, [], 60.0)
    nonce = b"n" * 16
    made: dict[str, object] = {
        "token": token.ident, "secret": token.secret, "role": WORKER, "name": "red", "ssh_key": "",
        "csr": certificates.request(certificates.new_key(), nonce),
    }  # fmt: skip
    made |= other
    inside = EnrolmentServer(authority)
    try:
        inside._answer({"op": "join", **made}, None, nonce, "192.0.2.9")
    except OctapiError:
        assert not authority.ledger.members
    for member in authority.ledger.members.values():
        assert member.role == WORKER
        assert names.check_name(member.name)
