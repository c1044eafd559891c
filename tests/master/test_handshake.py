"""Who may come in, by what it says first."""

import pytest

from octapi.master.gateway.handshake import compatible, in_health, refusal, why_not
from octapi.protocol import wire

SAYS = {"protocol": wire.PROTOCOL, "oldest": wire.OLDEST_PROTOCOL, "release": "1.2", "name": "red"}


def test_versions_meet_where_each_side_knows_one_of_the_others() -> None:
    assert compatible(SAYS)
    assert compatible(SAYS | {"protocol": wire.PROTOCOL + 5})
    assert not compatible(SAYS | {"protocol": wire.PROTOCOL + 5, "oldest": wire.PROTOCOL + 1})
    assert not compatible(SAYS | {"protocol": wire.OLDEST_PROTOCOL - 1})


@pytest.mark.parametrize("odd", [{"protocol": "7"}, {"oldest": None}, {"protocol": None}, {}])
def test_what_is_no_version_is_refused_with_both_releases(odd: dict[str, object]) -> None:
    says = SAYS | odd if odd else {}
    assert not compatible(says)
    assert "Install the same release on both." in refusal(says)


def test_a_worker_has_the_name_of_its_certificate() -> None:
    assert why_not(SAYS, "red") == why_not(SAYS, None) == ""
    assert why_not(SAYS, "blue") == "it is not 'red'."


def test_a_clock_is_kept_as_its_error() -> None:
    assert in_health({"clock": 107.04, "cpu": 3}, 100.0) == {"cpu": 3, "clock_ahead_s": 7.0}
    assert in_health({"cpu": 3}, 100.0) == {"cpu": 3}
