"""SSH between the master and its workers, on certificates of the cluster's own authority.

A worker runs an sshd of its own, on its own port and with its own configuration: the device's is never touched.  The
master knows every worker by the authority's signature on its host key, and every worker knows the master by the one on
its user key; nobody is asked, and nobody is trusted at first sight.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from octapi.device import children, files
from octapi.errors import TrustError
from octapi.settings import Internal, internal
from octapi.trust import names
from octapi.trust.authority import SSH_PRINCIPAL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

PORT: Final = 8722
DIRECTORY: Final = "ssh"
#: how long an sshd that is told to end may take, in seconds
STOP_S: Final = 5.0


def key(path: Path) -> str:
    """Return the public line of the key at ``path``, which is made if there is none."""
    from octapi.trust import certificates

    try:
        return certificates.ssh_public(files.read(path))
    except FileNotFoundError:
        private, public = certificates.new_ssh_key()
        files.write(path, private)
        return public


def host_key(home: Path) -> str:
    """Return the public line of this device's own host key for OctaPi's sshd."""
    return key(home / DIRECTORY / "host_key")


# ---- a device's sshd


def sshd_program() -> str:
    """Return the path of sshd; an empty text where it is not installed."""
    return shutil.which("sshd") or next((path for path in ("/usr/sbin/sshd", "/sbin/sshd") if Path(path).exists()), "")


def is_locked(shadow: str, name: str) -> bool:
    """Say whether a user's password is locked, by the text of /etc/shadow (shadow(5))."""
    return any(line.startswith(f"{name}:!") for line in shadow.splitlines())


def shadow() -> str:
    """Return the text of /etc/shadow, which only root may read, and only where root runs sshd does it matter."""
    try:
        return Path("/etc/shadow").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def server_config(place: Path, port: int, user: str, *, has_own_keys: bool, has_locked_password: bool) -> str:
    """Return the configuration of a device's sshd; ``place`` holds its files."""
    settings = {
        "Port": port,
        "HostKey": place / "host_key",
        "HostCertificate": place / "host_key-cert.pub",
        "TrustedUserCAKeys": place / "authority.pub",
        "AuthorizedPrincipalsFile": place / "principals",
        "RevokedKeys": place / "revoked",
        "AuthorizedKeysFile": place / "authorized_keys" if has_own_keys else "none",
        "AllowUsers": user,
        "AuthenticationMethods": "publickey",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "PermitEmptyPasswords": "no",
        "PermitUserEnvironment": "no",
        # without PAM sshd turns away users whose password is locked, though no password is asked for
        "UsePAM": "yes" if has_locked_password else "no",
        # sshd would refuse files below /tmp or a shared mount; their modes are checked by octapi.device.files
        "StrictModes": "no",
        "X11Forwarding": "no",
        "PrintMotd": "no",
        "LoginGraceTime": "20",
        "MaxStartups": "10:30:60",
        "PidFile": place / "sshd.pid",
        "Subsystem": "sftp internal-sftp",
        # commands find the octapi of this very installation
        "SetEnv": f'"PATH={Path(sys.executable).parent}:{search_path()}"',
    }
    return "".join(f"{name} {quoted(value)}\n" for name, value in settings.items())


def search_path() -> str:
    """Return where this process finds programs."""
    return os.environ.get("PATH", os.defpath)


def quoted(value: object) -> str:
    """Return a value as SSH's configurations take it."""
    text = str(value)
    return f'"{text}"' if isinstance(value, Path) else text


def user() -> str:
    """Return the user that logins reach: the one that runs the worker."""
    try:
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    except (ImportError, KeyError):
        return getpass.getuser()


class Sshd:
    """A device's own sshd."""

    def __init__(self, home: Path, port: int = PORT) -> None:
        self.place = home / DIRECTORY
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        #: systemd starts an sshd for each login, so the worker only writes its files
        self.is_outside = internal(Internal.SSHD) == "unit"

    def facts(self) -> dict[str, Any]:
        """Return what the master must know to log in; empty when it cannot."""
        return {"port": self.port, "user": user()} if self.process is not None or self.is_outside else {}

    def configure(self, signed: Mapping[str, str]) -> None:
        """Write the files that sshd reads; ``signed`` has the lines ``certificate`` and ``authority``.

        Raises :exc:`TrustError` when there are none.
        """
        if not signed:
            raise TrustError("This device's identity holds no SSH certificate.")
        files.private_directory(self.place)
        files.write(self.place / "host_key-cert.pub", signed["certificate"] + "\n")
        files.write(self.place / "authority.pub", signed["authority"] + "\n")
        files.write(self.place / "principals", SSH_PRINCIPAL + "\n")
        if not (self.place / "revoked").exists():
            files.write(self.place / "revoked", "")
        has_own_keys = (self.place / "authorized_keys").exists()
        config = server_config(
            self.place,
            self.port,
            user(),
            has_own_keys=has_own_keys,
            has_locked_password=is_locked(shadow(), user()),
        )
        files.write(self.place / "sshd_config", config)

    def start(self, signed: Mapping[str, str]) -> None:
        """Start it.  Raises :exc:`TrustError` with what is missing or wrong."""
        program = sshd_program()
        if not program:
            raise TrustError("There is no sshd here, so the master cannot log in. Install the package openssh-server.")
        self.configure(signed)
        if self.is_outside:
            return
        self._stop_old()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, parents=True, exist_ok=True)
        config = str(self.place / "sshd_config")
        checked = subprocess.run(
            [program, "-t", "-f", config], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if checked.returncode:
            raise TrustError(f"sshd does not accept its configuration: {checked.stderr.strip()}")
        wrapper = shutil.which("setpriv")
        command = [wrapper, "--pdeathsig", "TERM"] if wrapper else []
        with (self.place / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, program, "-D", "-e", "-f", config],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def _stop_old(self) -> None:
        """Stop an sshd that an earlier worker of this directory left behind when it was killed."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.place / "sshd.pid").read_text())
            if str(self.place).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGTERM)

    def renew(self, signed: Mapping[str, str]) -> None:
        """Show a new certificate; logins that are open live on."""
        if self.is_outside:
            self.configure(signed)
        elif self.process is not None and self.process.poll() is None:
            self.configure(signed)
            self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Stop listening; logins that are open live on."""
        if self.process is None:
            return
        children.stop(self.process, STOP_S)
        self.process = None


# ---- the master's side


def client_config(place: Path, rows: Iterable[dict[str, Any]], taken: Collection[str] = ()) -> str:
    """Return the configuration with which ``ssh NODE`` works; ``rows`` are workers with ``name, address, ssh``.

    Each goes by ``NODE.octapi``, and by its plain name if no host can be meant by that: one word, and none of those
    ``taken`` by hosts that the owner knows.
    """
    reachable = [row for row in rows if is_sound(row)]
    parts = ["# Written by octapi master at every change of workers.\n"]
    parts += [
        f"Host {' '.join(host_names(row['name'], taken))}\n    HostName {row['address']}\n"
        f"    Port {int(row['ssh']['port'])}\n"
        f"    User {row['ssh']['user']}\n    HostKeyAlias {row['name']}\n"
        for row in sorted(reachable, key=lambda row: str(row["name"]))
    ]
    if reachable:
        common = {
            "IdentityFile": place / "id_ed25519",
            "CertificateFile": place / "id_ed25519-cert.pub",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": place / "known_hosts",
            "GlobalKnownHostsFile": "none",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "ConnectTimeout": "10",
        }
        known = [name for row in reachable for name in host_names(row["name"], taken)]
        parts.append(f"Host {' '.join(known)}\n")
        parts += [f"    {name} {quoted(value)}\n" for name, value in common.items()]
    return "".join(parts)


def host_names(name: str, taken: Collection[str]) -> list[str]:
    """Return the names by which a worker is logged into."""
    plain = [name] if names.is_label(name) and name.lower() not in taken else []
    return [*plain, f"{name}.octapi"]


def hosts_of_owner() -> set[str]:
    """Return the names of hosts that this user's own files for SSH and this computer's list of hosts know."""
    own = Path.home() / ".ssh"
    found: set[str] = set()
    for path, is_config in ((own / "config", True), (own / "known_hosts", False), (Path("/etc/hosts"), False)):
        with contextlib.suppress(OSError):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                found |= hosts_in(line, is_config=is_config)
    return found - {socket.gethostname().lower()}


def hosts_in(line: str, *, is_config: bool) -> set[str]:
    """Return the names of hosts that one line is about."""
    parts = line.partition("#")[0].replace("=", " ", 1).lower().split()
    if is_config:
        return set(parts[1:]) if parts[:1] == ["host"] else set()
    return {name for part in parts for name in part.split(",") if not part.startswith("|")}


#: what may stand in the configuration: workers say it of themselves, and a line break would begin another setting
SOUND: Final = {
    "name": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"),
    "address": re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,252}"),
    "user": re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}"),
}


def is_sound(row: dict[str, Any]) -> bool:
    """Say whether a worker can be logged into, and says so in words that cannot be taken for anything else."""
    login = row.get("ssh")
    if not isinstance(login, dict):
        return False
    facts = {"name": row.get("name"), "address": row.get("address"), "user": login.get("user")}
    port = login.get("port")
    is_port = isinstance(port, int) and not isinstance(port, bool) and 0 < port < 1 << 16
    return is_port and all(isinstance(text, str) and SOUND[key].fullmatch(text) for key, text in facts.items())


def known_hosts(authority: str, revoked: Iterable[str]) -> str:
    """Return the lines that know every worker by the authority's signature, and none that was removed."""
    lines = [f"@cert-authority * {authority}"]
    lines += [f"@revoked * {line}" for line in revoked if line]
    return "\n".join(lines) + "\n"


def write_client(home: Path, user_certificate: str, authority: str, revoked: Sequence[str]) -> None:
    """Write the master's own certificate and what it knows of hosts."""
    place = home / DIRECTORY
    files.update(place / "id_ed25519-cert.pub", user_certificate + "\n")
    files.update(place / "known_hosts", known_hosts(authority, revoked))


def write_config(home: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the configuration for ``ssh``, if it is another than before."""
    place = home / DIRECTORY
    files.update(place / "config", client_config(place, rows, hosts_of_owner()))


def include(home: Path) -> str:
    """Let plain ``ssh NODE`` find the configuration, and return the file that was changed; empty if none was.

    Only for the usual home, below the user's own; nothing of the user's file is lost.
    """
    import pwd

    own = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    line = f'Include "{home / DIRECTORY / "config"}"'
    path = own / ".ssh" / "config"
    if home != own / ".octapi":
        return ""
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    if line in there.splitlines():
        return ""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        files.replace(path, f"{line}\n{there}", 0o600)
    except OSError:
        return ""  # a file system that cannot be written; 'octapi ssh NODE' works without it
    return str(path)


def reachable(home: Path) -> list[str]:
    """Return the workers that can be logged into now."""
    config = home / DIRECTORY / "config"
    text = config.read_text(encoding="utf-8") if config.exists() else ""
    hosts = [line.split()[-1] for line in text.splitlines() if line.startswith("Host ")][:-1]
    return [host.removesuffix(".octapi") for host in hosts]


def program(home: Path, worker: str, command: Sequence[str]) -> list[str]:
    """Return the command that logs into a worker.  Raises :exc:`TrustError` when it cannot be reached that way."""
    ssh, config = shutil.which("ssh"), home / DIRECTORY / "config"
    if ssh is None:
        raise TrustError("There is no ssh here. Install the package openssh-client.")
    if not config.exists():
        raise TrustError("There is no master on this device: 'octapi ssh' works where 'octapi master' runs.")
    hosts = reachable(home)
    if worker not in hosts:
        raise TrustError(f"No worker {worker!r} can be logged into now. There is: {', '.join(hosts) or 'none'}.")
    return [ssh, "-F", str(config), f"{worker}.octapi", *(["--", *command] if command else [])]
