"""The texts of systemd's units for master and worker: what they may do is all that they need.

Agent or supervisor run as root with few capabilities, because slots and scheduler get accounts of their own; jobs see a
read-only system, a private /tmp, and can gain no rights.  SSH logins are for taking care of the device, so OctaPi's
sshd has units of its own, without these walls; it starts when somebody connects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from octapi.errors import ServiceProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

#: the first line of each unit, by which it is known as ours
MARK: Final = "# Written by octapi; 'octapi {role} --remove-service' removes it."
ROLES: Final = ("worker", "master")
#: become the accounts of slots and scheduler, stop their processes, give them directories and clean up after them
CAPABILITIES: Final = "CAP_SETUID CAP_SETGID CAP_KILL CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH"

SERVICE: Final = """\
{mark}
[Unit]
Description=OctaPi {role}
Wants=network-online.target
After=network-online.target
# a device nobody looks after must never give up
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command}
Environment={environment}
Restart=on-failure
RestartSec=5
KillMode=mixed
TimeoutStopSec=20
# a job that takes all memory is killed; the service goes on
OOMPolicy=continue
LimitNOFILE=16384
# a fork bomb, a job that takes all memory and one that fills /dev/shm leave the device room to work
TasksMax=8192
MemoryMax=90%
TemporaryFileSystem=/dev/shm:mode=1777
RuntimeDirectory=octapi
RuntimeDirectoryPreserve=yes
UMask=0022

NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
ProtectSystem=strict
ReadWritePaths={places}
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""

SOCKET: Final = """\
{mark}
[Unit]
Description=SSH logins by OctaPi's own keys

[Socket]
ListenStream={port}
Accept=yes
MaxConnections=64

[Install]
WantedBy=sockets.target
"""

LOGIN: Final = """\
{mark}
[Unit]
Description=SSH login by OctaPi's own keys
CollectMode=inactive-or-failed
ConditionPathExists={config}

[Service]
ExecStart=-{program} -i -e -f {config}
StandardInput=socket
StandardError=journal
RuntimeDirectory=sshd
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
KillMode=process
"""


def quoted(text: str) -> str:
    """Return a word as systemd reads it in a command line.  Raises :exc:`ServiceProblem` for line breaks."""
    if not text.isprintable():
        raise ServiceProblem(f"{text!r} cannot stand in a unit of systemd.")
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"' if not text or set(text) & set(" \t'\"\\;") else plain


def path_of(path: Path) -> str:
    """Return a path for a setting that takes one.  Raises :exc:`ServiceProblem` for a path that it cannot take."""
    text = str(path)
    if not text.isprintable() or set(text) & set(" \t\"'\\"):
        raise ServiceProblem(f"systemd's units cannot name the directory {text!r}. Use an OCTAPI_HOME without blanks.")
    return text.replace("%", "%%")


def service(role: str, command: Iterable[str], places: Sequence[Path], state: Path) -> str:
    """Return the unit that runs a role.

    It may write ``places``, of which the home is the first, a master ``state`` too, and besides only its own /tmp and
    /run/octapi.
    """
    environment = [f"OCTAPI_HOME={path_of(places[0])}", "OCTAPI_SSHD=unit", "PYTHONUNBUFFERED=1"]
    writable = [path_of(place) for place in places]
    if role == "master":
        environment.append(f"OCTAPI_STATE={path_of(state.absolute())}")
        writable.append(path_of(state.absolute()))
    return SERVICE.format(
        mark=MARK.format(role=role),
        role=role,
        command=" ".join(quoted(word) for word in command),
        environment=" ".join(environment),
        capabilities=CAPABILITIES,
        places=" ".join(dict.fromkeys(writable)),
    )


def logins(role: str, port: int, program: str, home: Path) -> dict[str, str]:
    """Return the units, by name, by which systemd starts an sshd for each login."""
    mark = MARK.format(role=role)
    config = path_of(home / "ssh" / "sshd_config")
    return {
        f"octapi-{role}-ssh.socket": SOCKET.format(mark=mark, port=port),
        f"octapi-{role}-ssh@.service": LOGIN.format(mark=mark, program=program, config=config),
    }


def arguments(given: Sequence[tuple[str, object, object]]) -> list[str]:
    """Return the options of a command line for ``(option, value, default)``, without those that have the default."""
    found: list[str] = []
    for option, value, default in given:
        if value == default:
            continue
        switch = {True: option, False: option.replace("--", "--no-", 1)}
        found += [switch[value]] if isinstance(value, bool) else [option, str(value)]
    return found
