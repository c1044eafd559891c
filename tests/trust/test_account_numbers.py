"""Accounts of scheduler and jobs where nobody made them."""

import pwd

import pytest

from octapi.device import accounts
from octapi.trust import control_socket


def missing(_: object) -> None:
    raise KeyError("there is none")


def test_scheduler_and_jobs_never_share_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where their accounts were not made they run under numbers that no system gives to anybody."""
    monkeypatch.setattr(pwd, "getpwnam", missing)

    found = [accounts.find(name) for name in (accounts.SCHEDULER_ACCOUNT, accounts.SLOT_ACCOUNT)]

    assert None not in found
    assert len({one.uid for one in found if one} | {one.gid for one in found if one}) == 2
    assert all(control_socket.is_account(one.uid) for one in found if one)
    assert not {one.uid for one in found if one} & set(accounts.RUN_UIDS)


def test_a_number_that_somebody_has_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then everything runs as root, which is said."""
    monkeypatch.setattr(pwd, "getpwnam", missing)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: None)
    monkeypatch.setattr(accounts, "is_root", lambda: True)

    found, why = accounts.unprivileged(accounts.SLOT_ACCOUNT)

    assert found is None
    assert "runs as root" in why
