"""systemd's units as text, and what is said where there is no systemd; tests/containers has the real one."""

from pathlib import Path

import pytest

from octapi.cli import service as services
from octapi.cli.worker import WorkerOptions
from octapi.errors import ServiceProblem
from octapi.install import systemd, systemd_units
from tests.harness import Yard

HOME = Path("/root/.octapi")


def test_a_unit_has_walls_and_no_secret() -> None:
    """Jobs gain no rights and write nowhere; the token went into the identity before."""
    text = systemd_units.service(
        "worker", ["/opt/octapi/current/bin/octapi", "worker", "--name", "pi 1"], [HOME], Path("/x")
    )

    for wall in ("NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "OOMPolicy=continue"):
        assert f"\n{wall}\n" in text
    assert f"\nReadWritePaths={HOME}\n" in text
    assert 'ExecStart=/opt/octapi/current/bin/octapi worker --name "pi 1"\n' in text
    assert "octapi1" not in text
    assert "\nReadWritePaths=/root/.octapi /var/lib/octapi\n" in systemd_units.service(
        "master", ["x"], [HOME], Path("/var/lib/octapi")
    )


@pytest.mark.parametrize(
    ("word", "found"),
    [("plain", "plain"), ("100%", "100%%"), ("a b", '"a b"'), ('q"', '"q\\""'), ("$HOME", "$$HOME"), ("", '""')],
)
def test_words_reach_the_program_as_they_are(word: str, found: str) -> None:
    """Systemd would read % and $ as its own."""
    assert systemd_units.quoted(word) == found


@pytest.mark.parametrize("word", ["a\nExecStartPre=/bin/evil", "a\0b", "a\rb"])
def test_a_word_cannot_become_a_setting(word: str) -> None:
    """Line breaks are refused."""
    with pytest.raises(ServiceProblem):
        systemd_units.quoted(word)
    with pytest.raises(ServiceProblem):
        systemd_units.path_of(Path(word))


def test_only_what_differs_from_the_default_goes_into_the_unit() -> None:
    """So a new release may have other defaults."""
    given = [
        ("--name", "red", ""),
        ("--slots", 0, 0),
        ("--no-dask", True, False),
        ("--port", 9000, 0),
        ("--page", False, None),
    ]

    assert systemd_units.arguments(given) == ["--name", "red", "--no-dask", "--port", "9000", "--no-page"]
    changed = WorkerOptions(token="octapi1.x", install_service=True, ssh_port=0)
    assert systemd_units.arguments(services.options(changed)) == ["--ssh-port", "0"]


def test_without_systemd_nothing_is_changed_and_the_message_says_what_to_do(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same for those who are not root."""
    monkeypatch.setattr(systemd, "BOOTED", tmp_path / "absent")
    with pytest.raises(ServiceProblem, match="systemd does not run on this device"):
        systemd.check("worker")
    monkeypatch.setattr(systemd, "BOOTED", tmp_path)
    monkeypatch.setattr(systemd.shutil, "which", lambda _: "/bin/systemctl")
    monkeypatch.setattr(systemd.os, "geteuid", lambda: 1000)
    with pytest.raises(ServiceProblem, match="sudo octapi master"):
        systemd.check("master")


def test_units_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A unit that somebody wrote by hand is not replaced."""
    monkeypatch.setattr(systemd, "UNITS", tmp_path)
    (tmp_path / "octapi-worker.service").write_text("[Service]\n")

    with pytest.raises(ServiceProblem, match="was not written by octapi"):
        systemd.refuse_foreign("octapi-worker.service")


def test_insecure_is_no_service(yard: Yard) -> None:
    """It is for experiments."""
    assert "--insecure is for experiments" in yard.command(
        "red", "worker", "127.0.0.1:1", "--insecure", "--install-service", code=1
    )
