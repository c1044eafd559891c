"""Who comes to the page: links, cookies, wrong tokens, forged requests, names of hosts."""

from pathlib import Path

import pytest

from octapi.errors import SettingsError, TooManyAttempts, TrustError
from octapi.page import login, proxies
from octapi.page.links import ACT, LOOK, Links
from octapi.page.login import Gate


class Clock:
    """A time that the test moves."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


def gate_of(links: Links, clock: Clock, log: list[str] | None = None) -> Gate:
    return Gate(links.key, links.plain(), clock, (log if log is not None else []).append)


def test_a_link_lets_in_until_it_ends(tmp_path: Path) -> None:
    """Its token is good for its life, and for its own kind only."""
    clock = Clock()
    links = Links(tmp_path / "page" / "links.json", clock)
    token = links.new(LOOK, 100.0)
    gate = gate_of(links, clock)

    found = gate.by_token(token, "10.0.0.9")
    assert found is not None
    assert not login.may_act(found)
    clock.time += 101.0
    assert gate.by_token(token, "10.0.0.9") is None


def test_only_hashes_are_written_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    """The file holds no token, and has mode 0600."""
    path = tmp_path / "page" / "links.json"
    token = Links(path, Clock()).new(ACT)

    assert token.partition(".")[2] not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_links_and_logins_survive_a_restart_of_the_master(tmp_path: Path) -> None:
    """The file holds what is needed to know them again."""
    clock, path = Clock(), tmp_path / "page" / "links.json"
    before = Links(path, clock)
    token = before.new(ACT)
    link = gate_of(before, clock).by_token(token, "x")
    assert link is not None
    cookie = gate_of(before, clock).cookie(link)

    after = gate_of(Links(path, clock), clock)
    assert after.by_token(token, "x") is not None
    assert after.by_cookie(cookie) is not None


def test_a_cookie_is_good_for_its_time_and_its_link_and_cannot_be_changed(tmp_path: Path) -> None:
    """Every changed character, a later end and another key make it worthless."""
    clock = Clock()
    links = Links(None, clock)
    links.new(ACT)
    gate = gate_of(links, clock)
    cookie = gate.cookie(next(iter(gate.links.values())))
    assert gate.by_cookie(cookie) is not None

    for place in range(len(cookie)):
        changed = cookie[:place] + ("x" if cookie[place] != "x" else "y") + cookie[place + 1 :]
        assert gate.by_cookie(changed) is None
    assert Gate("another key", links.plain(), clock, print).by_cookie(cookie) is None
    for wrong in ("", ".", "..", "é.1.é", cookie + "0", "0" * 5000):
        assert gate.by_cookie(wrong) is None
    clock.time += login.STAY_S + 1
    assert gate.by_cookie(cookie) is None


def test_a_revoked_link_ends_its_logins(tmp_path: Path) -> None:
    """The cookie that came from it is void at once."""
    clock = Clock()
    links = Links(None, clock)
    token = links.new(ACT)
    gate = gate_of(links, clock)
    cookie = gate.cookie(next(iter(gate.links.values())))

    links.revoke(token.partition(".")[0])
    gate.replace(links.plain())

    assert gate.by_cookie(cookie) is None
    with pytest.raises(TrustError, match="no link"):
        links.revoke("nobody")


def test_wrong_tokens_are_limited_and_logged_without_the_token() -> None:
    """After five in a minute an address is told to wait, and is logged no more."""
    clock, log = Clock(), []
    gate = gate_of(Links(None, clock), clock, log)
    for _ in range(5):
        assert gate.by_token("abcdef.secret-guess", "10.0.0.66") is None

    with pytest.raises(TooManyAttempts, match="Wait"):
        gate.by_token("abcdef.secret-guess", "10.0.0.66")
    assert gate.by_token("abcdef.secret-guess", "10.0.0.7") is None
    assert len(log) == 6
    assert "10.0.0.66" in log[0]
    assert "secret-guess" not in "".join(log)


def test_no_number_of_wrong_tokens_keeps_a_right_one_out() -> None:
    """Neither many from its own address, nor as many from everywhere as are counted at all."""
    clock = Clock()
    links = Links(None, clock)
    token = links.new(ACT)
    gate = gate_of(links, clock)
    for number in range(100):
        gate.by_token("abcdef.secret-guess", f"10.0.0.{number // 5}")

    with pytest.raises(TooManyAttempts):
        gate.by_token("abcdef.secret-guess", "10.0.1.1")
    assert gate.by_token(token, "10.0.0.1") is not None
    assert gate.by_token(token, "10.0.1.1") is not None


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        *((address, True) for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "172.17.0.9", "10.0.0.5")),
        *((address, False) for address in ("10.0.0.6", "::ffff:10.0.0.6", "?", "")),
    ],
)
def test_only_proxies_here_and_those_named_are_believed(address: str, is_one: bool) -> None:
    """Everybody else could say in a header to be who he likes."""
    assert proxies.is_believed(address, proxies.networks("172.17.0.1/16, 10.0.0.5")) is is_one


def test_what_is_no_network_is_refused_by_name() -> None:
    """Before the master starts."""
    with pytest.raises(SettingsError, match=r"'pi\.local'"):
        proxies.networks("127.0.0.1,pi.local")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8787", "[::1]:8787", "192.168.1.4", "localhost:8787", "pi.local", "a.x.org"]
)
def test_addresses_and_own_names_are_answered(host: str) -> None:
    """Whatever the port."""
    assert login.is_own_name(host, ["pi.local", "*.x.org"])


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "pi.local.evil.example", "", "@@", "[::1", "a b"]
)
def test_other_names_are_not(host: str) -> None:
    """A site that lets its own name lead to this computer gets nothing."""
    try:
        answer = login.is_own_name(host, ["pi.local"])
    except ValueError:
        answer = False
    assert not answer


def test_requests_of_other_sites_are_known_as_forged() -> None:
    """By the missing header, by where the browser says they come from, by their origin."""
    good = {"x-octapi": "1", "origin": "http://pi:8787", "sec-fetch-site": "same-origin"}
    assert login.is_forged(good, "pi:8787") == ""
    assert login.is_forged({"x-octapi": "1"}, "pi:8787") == ""
    assert "missing" in login.is_forged({"origin": "http://pi:8787"}, "pi:8787")
    assert login.is_forged(good | {"origin": "http://evil.example"}, "pi:8787")
    assert login.is_forged(good | {"origin": "null"}, "pi:8787")
    assert login.is_forged(good | {"sec-fetch-site": "same-site"}, "pi:8787")
