"""Single decisions that keep strangers, stolen workers and scripts from getting further than they may."""

import asyncio
import os
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from octapi import account, metrics
from octapi.master.client import Client
from octapi.master.runner import Runner
from octapi.master.sessions import is_same
from octapi.master.submitted import Submitted
from octapi.settings import Settings
from octapi.setup import bootstrap
from octapi.trust import certificates, desk, names, ssh
from octapi.trust.authority import local_cluster
from octapi.trust.names import Peer
from tests.yard import until

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

    assert "Host red\n" in ssh.client_config(Path("/x"), [row])
    written = ssh.client_config(Path("/x"), [row | change, row | {"name": "blue"}])
    assert "Host blue\n" in written
    assert "Host red\n" not in written
    assert "exec" not in written
    assert "Proxy" not in written


def test_a_line_behind_a_members_ssh_key_is_not_kept() -> None:
    """It would become a line of the master's known_hosts once that member is removed."""
    _, line = certificates.new_ssh_key()

    assert certificates.ssh_public_alone(f"{line}\n@cert-authority * {line}") == line


def test_a_session_is_given_back_to_its_own_login_with_its_key_alone() -> None:
    """A connection that only asks has no key, so nobody can come back to it."""

    async def answers() -> list[bool]:
        client, asker = Client(None, {"session": "s", "token": "key"}, OWNER), Client(None, {}, OWNER)
        right = [is_same(client, {"token": "key"}, OWNER)]
        wrong = [(client, {"token": "key"}, OTHER), (client, {"token": "x"}, OWNER), (asker, {"token": ""}, OWNER)]
        return right + [is_same(*question) for question in (*wrong, (asker, {}, OWNER))]

    assert asyncio.run(answers()) == [True, False, False, False, False]


def runner(place: Path, **options: Any) -> Runner:
    """Make a runner whose scripts get no identity."""

    def introduce(run: Submitted, home: Path) -> dict[str, str]:
        raise PermissionError(f"{home} is closed")

    return Runner(place, Settings(), introduce, lambda _: None, options.pop("say", print), **options)


def submitted(ident: str, owner: str) -> Submitted:
    """Make a run."""
    return Submitted(ident, "x.py", [], owner, "ada", "host", restartable=False, submitted=time.time())


def test_scripts_are_out_with_the_login_that_submitted_them(tmp_path: Path) -> None:
    """Also those that its scripts submitted: they belong to the same login."""
    found = runner(tmp_path, cluster="c" * 16)
    found.runs = {"one": submitted("one", OWNER.ident), "two": submitted("two", OTHER.ident)}
    script = names.ident_of_run("c" * 16, "one")

    assert found._login(script) == OWNER.ident
    assert found._login(OTHER.ident) == OTHER.ident
    assert found.outcasts([OWNER.ident]) == [script]
    assert found.outcasts([]) == []


def test_a_script_that_spoils_its_own_directory_ends_nothing_else(tmp_path: Path) -> None:
    """Its next identity cannot be written, which is said; the others get theirs."""
    said: list[str] = []
    found = runner(tmp_path, say=said.append)
    found.runs = {"one": submitted("one", OWNER.ident)}
    found.processes = {"one": None}  # type: ignore[dict-item]

    found.introduce_again(-1.0)

    assert "run one could not be given a new identity" in said[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives accounts")
def test_a_script_that_multiplies_is_ended_all_the_same() -> None:
    """Everything of its account is stopped before anything is killed, until nothing is left."""
    uid = account.RUN_UIDS[-1]
    process = subprocess.Popen(["sh", "-c", HYDRA], user=uid, group=uid, extra_groups=[], cwd="/")
    until(lambda: len(account.pids_of(uid)) > 3)

    assert account.end_account(uid)

    process.wait(10)
    assert account.pids_of(uid) == []


def test_accounts_of_jobs_and_scripts_are_no_logins() -> None:
    """Whatever groups they are in."""
    assert desk.is_account(account.RUN_UIDS[0])
    assert not desk.is_account(0)


def test_a_worker_that_tells_nonsense_of_its_metrics_is_left_out_alone() -> None:
    """The others are discovered."""
    row = {"name": "red", "address": "10.0.0.1", "slots": 1, "metrics": {"port": 8791}}
    wrong = [row | {"metrics": {"port": 1, "host": 5}}, row | {"metrics": {"port": 1, "host": "a b"}}]

    assert [entry["targets"] for entry in metrics.discovery([*wrong, row])] == [["10.0.0.1:8791"]]
