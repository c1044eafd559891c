"""The master logs into every worker by SSH: no question, no stranger, a real sshd."""

import os
import re
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from octapi.trust import certificates, ssh
from tests.harness import Running, Yard, until

if not ssh.sshd_program() or not shutil.which("ssh"):
    assert not os.environ.get("CI"), "CI must have openssh-server"
    pytest.skip("there is no sshd here: install openssh-server", allow_module_level=True)


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def worker_with_ssh(yard: Yard, name: str) -> Running:
    """Start a worker whose sshd is known to the master."""
    worker = yard.worker(name, yard.token(), "--host", "127.0.0.1", ssh_port=free_port())
    config = yard.home("master") / "ssh" / "config"
    until(lambda: re.search(rf"^Host .*\b{name}\b", config.read_text(), re.MULTILINE))
    return worker


def login(
    yard: Yard, node: str, *command: str, config: Path | None = None, options: tuple[str, ...] = ()
) -> tuple[int, str]:
    """Log in with plain ssh, which may not ask anything."""
    flags = ("-F", str(config or yard.home("master") / "ssh" / "config"), "-o", "BatchMode=yes", *options)
    done = subprocess.run(
        ["ssh", *flags, node, *command],
        capture_output=True, text=True, check=False, timeout=30, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_master_logs_in_without_a_question_and_checks_the_host(yard: Yard) -> None:
    """Octapi ssh NODE and plain ssh NODE; host keys are certified, and checking is never switched off."""
    yard.master()
    worker_with_ssh(yard, "red")

    assert yard.command("master", "ssh", "red", "echo", "hello").strip() == "hello"
    assert login(yard, "red", "echo", "$((6 * 7))") == (0, "42\n")
    written = (yard.home("master") / "ssh" / "config").read_text()
    assert "StrictHostKeyChecking yes" in written
    assert "StrictHostKeyChecking no" not in written
    assert "@cert-authority" in (yard.home("master") / "ssh" / "known_hosts").read_text()
    assert "No worker 'blue' can be logged into" in yard.command("master", "ssh", "blue", code=1)
    for path in (yard.home("red") / "ssh").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.suffix in (".log", ".pid"), path


def test_an_impostor_at_a_workers_address_is_not_believed(yard: Yard, tmp_path: Path) -> None:
    """An sshd with a key of its own, signed by nobody or by another authority, at the same address."""
    yard.master()
    worker_with_ssh(yard, "red").stop()
    port = re.search(r"Port (\d+)", text := (yard.home("red") / "ssh" / "sshd_config").read_text())
    assert port is not None
    place = tmp_path / "impostor"
    place.mkdir(mode=0o700)
    private, public = certificates.new_ssh_key()
    other, _ = certificates.new_ssh_key()
    (place / "host_key").touch(mode=0o600)
    (place / "host_key").write_text(private)
    signed = certificates.ssh_certificate(other, public, "x", ["red"], 0, 2**40, host=True)
    (place / "host_key-cert.pub").write_text(signed + "\n")
    config = place / "sshd_config"
    config.write_text(text.replace(str(yard.home("red") / "ssh" / "host_key"), str(place / "host_key")))
    kept = yard.place / "config"
    kept.write_text(
        f"Host red\n    HostName 127.0.0.1\n    Port {port[1]}\n    HostKeyAlias red\n    User {ssh.user()}\n"
        f"    UserKnownHostsFile {yard.home('master') / 'ssh' / 'known_hosts'}\n    StrictHostKeyChecking yes\n"
        f"    GlobalKnownHostsFile none\n    IdentityFile {yard.home('master') / 'ssh' / 'id_ed25519'}\n"
    )
    with subprocess.Popen([ssh.sshd_program(), "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE) as impostor:
        try:
            assert impostor.stderr is not None
            assert b"listening" in impostor.stderr.readline()
            code, said = login(yard, "red", "true", config=kept)
        finally:
            impostor.terminate()

    assert code == 255
    assert "Host key verification failed" in said or "Certificate" in said


def test_only_certificates_of_this_cluster_are_let_in(yard: Yard, tmp_path: Path) -> None:
    """No password, no key of the device's owner, no certificate of another authority or for another principal."""
    yard.master()
    worker_with_ssh(yard, "red")
    foreign, _ = certificates.new_ssh_key()
    private, public = certificates.new_ssh_key()
    key = tmp_path / "id"
    key.touch(mode=0o600)
    key.write_text(private)
    flags = ("-o", f"IdentityFile={key}", "-o", "CertificateFile=none", "-o", "IdentitiesOnly=yes")
    kept = tmp_path / "config"
    text = (yard.home("master") / "ssh" / "config").read_text()
    kept.write_text("".join(line for line in text.splitlines(True) if "File" not in line or "Known" in line))

    code, said = login(yard, "red", "true", config=kept, options=flags[:2])
    assert (code, "Permission denied (publickey)" in said) == (255, True), said
    cert = tmp_path / "id-cert.pub"
    for principals in (["octapi"], ["root"]):
        cert.write_text(certificates.ssh_certificate(foreign, public, "x", principals, 0, 2**40, host=False) + "\n")
        code, said = login(yard, "red", "true", config=kept, options=(*flags[:2], "-o", f"CertificateFile={cert}"))
        assert (code, "Permission denied (publickey)" in said) == (255, True), said
    listing = login(yard, "red", "true", config=kept, options=("-o", "PreferredAuthentications=password,none"))
    assert "Permission denied (publickey)" in listing[1]


def test_a_removed_workers_host_key_is_refused(yard: Yard) -> None:
    """Its certificate is still valid, and its sshd may still run on a device that is out."""
    yard.master()
    worker_with_ssh(yard, "red")
    kept = yard.place / "config"
    kept.write_text((yard.home("master") / "ssh" / "config").read_text())
    assert login(yard, "red", "true", config=kept)[0] == 0
    stopped = yard.running[-1]
    place = yard.home("red") / "ssh"
    yard.command("master", "nodes", "remove", "red")
    stopped.wait()
    config = place / "sshd_config"
    with subprocess.Popen([ssh.sshd_program(), "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE) as again:
        try:
            assert again.stderr is not None
            assert b"listening" in again.stderr.readline()
            code, said = login(yard, "red", "true", config=kept)
        finally:
            again.terminate()

    assert code == 255
    assert "revoked" in said.lower()


def test_keys_that_an_owner_seeds_by_hand_are_let_in_too(yard: Yard, tmp_path: Path) -> None:
    """As the balena OctaPi did with .ssh: authorized_keys in the worker's ssh directory."""
    private, public = certificates.new_ssh_key()
    key = tmp_path / "id"
    key.touch(mode=0o600)
    key.write_text(private)
    yard.master()
    (yard.home("red") / "ssh").mkdir(mode=0o700)
    (yard.home("red") / "ssh" / "authorized_keys").touch(mode=0o600)
    (yard.home("red") / "ssh" / "authorized_keys").write_text(public + "\n")
    worker_with_ssh(yard, "red")
    text = (yard.home("master") / "ssh" / "config").read_text()
    kept = tmp_path / "config"
    kept.write_text("".join(line for line in text.splitlines(True) if "File" not in line or "Known" in line))

    assert login(yard, "red", "echo", "mine", config=kept, options=("-o", f"IdentityFile={key}")) == (0, "mine\n")


def test_an_sshd_that_was_left_behind_is_replaced(yard: Yard) -> None:
    """A worker that was killed leaves nothing that keeps its port."""
    yard.master()
    worker = worker_with_ssh(yard, "red")
    port = re.search(r"Port (\d+)", (yard.home("red") / "ssh" / "sshd_config").read_text())
    assert port is not None
    worker.process.kill()
    worker.wait()
    again = yard.worker("red", "", "--host", "127.0.0.1", ssh_port=int(port[1]))

    assert "SSH is off" not in again.text()
    assert until(lambda: login(yard, "red", "echo", "again")[1] == "again\n")


def test_a_user_with_a_locked_password_can_be_logged_into(tmp_path: Path) -> None:
    """As root often is; no password is ever asked for, but sshd without PAM would turn it away."""
    shadow = "root:!:19000:0:99999:7:::\nrooter:*:19000::::::\npi:$y$abc:19000::::::\n"

    assert [ssh.is_locked(shadow, name) for name in ("root", "rooter", "pi", "ro")] == [True, False, False, False]
    made = ssh.server_config(tmp_path, 22, "root", has_own_keys=False, has_locked_password=True)
    assert "UsePAM yes\n" in made
    assert "PasswordAuthentication no\n" in made
