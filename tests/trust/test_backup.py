"""A backup that is damaged, or that somebody else made, is refused in words; nothing is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from octapi.errors import IdentityProblem
from octapi.trust import authority_file, certificates
from octapi.trust.authority import Authority, new_state
from octapi.trust.names import WORKER

Change = Callable[[dict[str, Any]], object]


def good() -> dict[str, Any]:
    """Return a backup with a member and a token."""
    authority = Authority(new_state("school", 1e9))
    token, nonce = authority.new_token(WORKER, [], 60.0), b"n" * 16
    csr = certificates.request(certificates.new_key(), nonce)
    authority.join(token.ident, token.secret, WORKER, "red", csr, nonce, None)
    authority.server(authority.state.roots[0])
    found: dict[str, Any] = json.loads(authority.state.to_json())
    return found


def test_a_good_backup_makes_a_master(tmp_path: Path) -> None:
    """With its members."""
    source = tmp_path / "backup"
    source.write_text(json.dumps(good()))

    assert authority_file.restore(tmp_path / "home", source) == "school"
    assert [member.name for member in authority_file.open_authority(tmp_path / "home")[0].ledger.active()] == ["red"]


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.update(roots=[]), lambda it: it.update(cluster="../x"), lambda it: it.update(cluster_id=5),
        lambda it: it.update(life_s="long"), lambda it: it.update(life_s=1e308), lambda it: it.update(ssh_key="x"),
        lambda it: it["roots"][0].update(key="x"), lambda it: it["roots"][0].update(certificate="x"),
        lambda it: it["roots"][0].update(key=certificates.new_key()), lambda it: it["roots"][0].update(ident="0" * 16),
        lambda it: it["roots"][0].update(server={"key": "x"}),
        lambda it: it.update(ledger={"tokens": [], "members": {}}),
        lambda it: next(iter(it["ledger"]["members"].values())).update(name="\x1b[2J"),
        lambda it: next(iter(it["ledger"]["members"].values())).update(ends=None),
        lambda it: next(iter(it["ledger"]["tokens"].values())).update(uses=-1),
        lambda it: it["ledger"]["members"].update({"0" * 16: next(iter(it["ledger"]["members"].values()))}),
        lambda it: it.update(more=1), lambda it: it.pop("floor") and it.update(floor=-1.0),
    ],
)  # fmt: skip
def test_a_damaged_backup_is_refused_and_nothing_is_written(tmp_path: Path, change: Change) -> None:
    """A master that starts with it would end later, in the middle of its work."""
    plain = good()
    change(plain)
    source = tmp_path / "backup"
    source.write_text(json.dumps(plain))

    with pytest.raises(IdentityProblem):
        authority_file.restore(tmp_path / "home", source)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"{", b"[" * 100_000, b"null", b'{"roots": 5}'])
def test_what_is_no_backup_is_refused(tmp_path: Path, data: bytes) -> None:
    """Whatever is in the file."""
    source = tmp_path / "backup"
    source.write_bytes(data)

    with pytest.raises(IdentityProblem):
        authority_file.restore(tmp_path / "home", source)


def test_a_backup_is_not_written_through_a_link(tmp_path: Path) -> None:
    """Also where the link leads nowhere; the message says what to do."""
    authority_file.open_authority(tmp_path / "home", "school")
    target = tmp_path / "stick"
    target.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(IdentityProblem, match="only a link"):
        authority_file.backup(tmp_path / "home", target)
    assert not (tmp_path / "elsewhere").exists()
