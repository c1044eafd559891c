"""Single decisions that keep strangers, stolen workers and scripts from getting further than they may."""

import asyncio
import os
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from octapi.device import accounts
from octapi.errors import TokenRefused, TrustError
from octapi.install import bootstrap
from octapi.master.gateway.session import ClientSession
from octapi.master.gateway.sessions import is_same
from octapi.master.supervisor.script_files import SubmittedScript
from octapi.master.supervisor.script_runner import ScriptRunner
from octapi.settings import Settings
from octapi.telemetry import exposition
from octapi.trust import certificates, control_socket, names, ssh
from octapi.trust.authority import Authority, local_cluster, new_state
from octapi.trust.names import WORKER, Peer
from tests.harness import until

OWNER = Peer("c" * 16, "client", "ada", "a" * 16)
OTHER = Peer("c" * 16, "client", "eve", "e" * 16)
#: starts children, each in a session of its own; some twenty live at a time
HYDRA = "while :; do setsid sleep 1 & sleep 0.05; done"


def new_root() -> str:
    """Make an authority, and return its certificate."""
    return local_cluster().authorities()[0]


def test_a_second_certificate_behind_the_pinned_one_is_not_believed() -> None:
    """Neither when a device joins nor when it installs from the master."""
    ours, evil = new_root(), new_root()
    pin = certificates.pin_of(ours)

    assert certificates.pinned(ours, pin) == ours
    assert certificates.pinned(ours + evil, pin) == ours
    assert certificates.pinned(evil + ours, pin) == ""
    assert bootstrap.pinned(ours, pin) == ssl.PEM_cert_to_DER_cert(ours)
    both = ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(ours) + ssl.PEM_cert_to_DER_cert(evil))
    for text in (ours + evil, evil + ours, evil, both, "", "-----BEGIN CERTIFICATE-----"):
        assert bootstrap.pinned(text, pin) == b""


@pytest.mark.parametrize(
    "change",
    [
        {"ssh": {"port": 22, "user": 'root\nMatch exec "touch /tmp/x"'}}, {"ssh": {"port": "x", "user": "root"}},
        {"ssh": {"port": 22}}, {"ssh": {"port": True, "user": "root"}}, {"ssh": "yes"},
        {"address": "10.0.0.1\nProxyCommand x"}, {"name": "*"}, {"address": "-oProxyCommand=x"}, {"address": None},
    ],
)  # fmt: skip
def test_a_worker_cannot_write_into_the_masters_ssh_configuration(change: dict[str, Any]) -> None:
    """What it says of itself is there in plain words, or not at all."""
    row = {"name": "red", "address": "10.0.0.1", "ssh": {"port": 8722, "user": "root"}}

    assert "Host red red.octapi\n" in ssh.client_config(Path("/x"), [row])
    written = ssh.client_config(Path("/x"), [row | change, row | {"name": "blue"}])
    assert "Host blue blue.octapi\n" in written
    assert "Host red" not in written
    assert "exec" not in written
    assert "Proxy" not in written


def test_a_line_behind_a_members_ssh_key_is_not_kept() -> None:
    """It would become a line of the master's known_hosts once that member is removed."""
    _, line = certificates.new_ssh_key()

    assert certificates.ssh_public_alone(f"{line}\n@cert-authority * {line}") == line


def test_a_session_is_given_back_to_its_own_login_with_its_key_alone() -> None:
    """A connection that only asks has no key, so nobody can come back to it."""

    async def answers() -> list[bool]:
        client, asker = ClientSession(None, {"session": "s", "token": "key"}, OWNER), ClientSession(None, {}, OWNER)
        right = [is_same(client, {"token": "key"}, OWNER)]
        wrong = [(client, {"token": "key"}, OTHER), (client, {"token": "x"}, OWNER), (asker, {"token": ""}, OWNER)]
        return right + [is_same(*question) for question in (*wrong, (asker, {}, OWNER))]

    assert asyncio.run(answers()) == [True, False, False, False, False]


def runner(place: Path, **options: Any) -> ScriptRunner:
    """Make a runner whose scripts get no identity."""

    def introduce(run: SubmittedScript, home: Path) -> dict[str, str]:
        raise PermissionError(f"{home} is closed")

    return ScriptRunner(place, Settings(), introduce, lambda _: None, **options)


def submitted(ident: str, owner: str) -> SubmittedScript:
    """Make a run."""
    return SubmittedScript(ident, "x.py", [], owner, "ada", "host", restartable=False, submitted=time.time())


def test_scripts_are_out_with_the_login_that_submitted_them(tmp_path: Path) -> None:
    """Also those that its scripts submitted: they belong to the same login."""
    found = runner(tmp_path, cluster="c" * 16)
    found.runs = {"one": submitted("one", OWNER.ident), "two": submitted("two", OTHER.ident)}
    script = names.ident_of_run("c" * 16, "one")

    assert found._login(script) == OWNER.ident
    assert found._login(OTHER.ident) == OTHER.ident
    assert found.outcasts([OWNER.ident]) == [script]
    assert found.outcasts([]) == []


def test_a_script_that_spoils_its_own_directory_ends_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its next identity cannot be written, which is said; the others get theirs."""
    found = runner(tmp_path)
    found.runs = {"one": submitted("one", OWNER.ident)}
    found.processes = {"one": None}  # type: ignore[dict-item]

    found.introduce_again(-1.0)

    assert "run one could not be given a new identity" in caplog.messages[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives accounts")
def test_a_script_that_multiplies_is_ended_all_the_same() -> None:
    """Everything of its account is stopped before anything is killed, until nothing is left."""
    uid = accounts.RUN_UIDS[-1]
    process = subprocess.Popen(["sh", "-c", HYDRA], user=uid, group=uid, extra_groups=[], cwd="/")
    until(lambda: len(accounts.pids_of(uid)) > 3)

    assert accounts.end_account(uid)

    process.wait(10)
    assert accounts.pids_of(uid) == []


def test_accounts_of_jobs_and_scripts_are_no_logins() -> None:
    """Whatever groups they are in."""
    assert control_socket.is_account(accounts.RUN_UIDS[0])
    assert not control_socket.is_account(0)


def test_a_worker_that_tells_nonsense_of_its_metrics_is_left_out_alone() -> None:
    """The others are discovered."""
    row = {"name": "red", "address": "10.0.0.1", "slots": 1, "metrics": {"port": 8791}}
    wrong = [row | {"metrics": {"port": 1, "host": 5}}, row | {"metrics": {"port": 1, "host": "a b"}}]

    assert [entry["targets"] for entry in exposition.discovery([*wrong, row])] == [["10.0.0.1:8791"]]


def test_a_device_does_not_capture_the_hosts_that_its_owner_knows() -> None:
    """Its plain name is a word that means no host; any other goes by the cluster's own domain alone."""
    row = {"name": "red", "address": "10.0.0.1", "ssh": {"port": 8722, "user": "root"}}
    rows = [row | {"name": name} for name in ("red", "gitlab.com", "localhost", "127.0.0.1", "master", "nas", "0x7f")]

    written = ssh.client_config(Path("/x"), rows, {"nas"})

    lines = [line for line in written.splitlines() if line.startswith("Host ")]
    words = {word for line in lines for word in line.split()[1:]}
    assert words == {"red"} | {f"{one['name']}.octapi" for one in rows}


@pytest.mark.parametrize(
    "name", ["localhost", "LOCALHOST", "127.0.0.1", "2130706433", "0x7f.1", "master", "All", "a.octapi"]
)
def test_a_name_that_means_something_else_is_refused_to_a_device_that_joins(name: str) -> None:
    """Who bears one since an earlier release keeps it."""
    authority = Authority(new_state("school", 1e9))
    token = authority.new_token(WORKER, [], 60.0)
    nonce = b"n" * 16
    csr = certificates.request(certificates.new_key(), nonce)

    with pytest.raises(TrustError, match="cannot be the name"):
        authority.join(token.ident, token.secret, WORKER, name, csr, nonce, None)
    assert not authority.ledger.members


def test_the_token_of_a_removed_device_is_revoked_with_it() -> None:
    """It may have the token still; those of others stay."""
    authority = Authority(new_state("school", 1e9))
    used, other = authority.new_token(WORKER, [], 60.0), authority.new_token(WORKER, [], 60.0)
    nonce = b"n" * 16
    csr = certificates.request(certificates.new_key(), nonce)
    authority.join(used.ident, used.secret, WORKER, "red", csr, nonce, None)

    authority.remove("red")

    rows, now = authority.ledger.tokens, authority.now()
    assert (rows[used.ident].state(now), rows[other.ident].state(now)) == ("revoked", "valid")
    with pytest.raises(TokenRefused, match="revoked"):
        authority.join(used.ident, used.secret, WORKER, "blue", csr, nonce, None)
