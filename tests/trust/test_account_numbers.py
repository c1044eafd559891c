"""Accounts of scheduler and jobs where nobody made them."""

import pwd

import pytest

from octapi import account
from octapi.trust import desk


def missing(_: object) -> None:
    raise KeyError("there is none")


def test_scheduler_and_jobs_never_share_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where their accounts were not made they run under numbers that no system gives to anybody."""
    monkeypatch.setattr(pwd, "getpwnam", missing)

    found = [account.find(name) for name in (account.SCHEDULER_ACCOUNT, account.SLOT_ACCOUNT)]

    assert None not in found
    assert len({one.uid for one in found if one} | {one.gid for one in found if one}) == 2
    assert all(desk.is_account(one.uid) for one in found if one)
    assert not {one.uid for one in found if one} & set(account.RUN_UIDS)


def test_a_number_that_somebody_has_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then everything runs as root, which is said."""
    monkeypatch.setattr(pwd, "getpwnam", missing)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: None)
    monkeypatch.setattr(account, "is_root", lambda: True)

    found, why = account.unprivileged(account.SLOT_ACCOUNT)

    assert found is None
    assert "runs as root" in why
