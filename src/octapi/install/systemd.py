"""Makes systemd run a master or worker, and removes it again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from octapi.device import files
from octapi.errors import ServiceProblem
from octapi.install import systemd_units
from octapi.settings import state_dir

if TYPE_CHECKING:
    from collections.abc import Sequence

UNITS: Final = Path("/etc/systemd/system")
#: exists where systemd runs, and only there (sd_booted(3))
BOOTED: Final = Path("/run/systemd/system")


def check(role: str) -> None:
    """Raise :exc:`ServiceProblem` unless systemd runs here and this process may tell it what to do."""
    if not BOOTED.exists() or shutil.which("systemctl") is None:
        raise ServiceProblem(
            f"systemd does not run on this device, so it cannot run OctaPi as a service. Start it by hand or by what "
            f"does run here: octapi {role}"
        )
    if os.geteuid() != 0:
        raise ServiceProblem(
            f"Only root may install or remove services. Run it again with sudo: sudo octapi {role} ..."
        )


def program() -> list[str]:
    """Return the command of this installation; where the installer made it, by the link that upgrades move."""
    current = Path(sys.prefix).parent.parent / "current"
    if current.is_symlink() and current.resolve() == Path(sys.prefix).resolve():
        return [str(current / "bin" / "octapi")]
    return [sys.executable, "-m", "octapi.cli.app"]


def units(role: str, arguments: Sequence[str], places: Sequence[Path], ssh_port: int) -> dict[str, str]:
    """Return the units of a role by name.  The last one is started for each login, not enabled."""
    from octapi.trust.ssh import sshd_program

    found = {f"octapi-{role}.service": systemd_units.service(role, [*program(), role, *arguments], places, state_dir())}
    sshd = sshd_program()
    if ssh_port and sshd:
        found |= systemd_units.logins(role, ssh_port, sshd, places[0])
    return found


def install(role: str, arguments: Sequence[str], places: Sequence[Path], ssh_port: int = 0) -> list[str]:
    """Write the units, enable and start them, anew if they run; return the names of those that were started.

    ``places`` are the directories that it may write; the home is first.  Raises :exc:`ServiceProblem`.
    """
    check(role)
    made = units(role, arguments, places, ssh_port)
    if role == "master":
        state_dir().mkdir(mode=0o700, parents=True, exist_ok=True)  # systemd opens only what is there
    for name in made:
        refuse_foreign(name)
    for name in set(known(role)) - set(made):
        drop(name)
    for name, text in made.items():
        files.replace(UNITS / name, text)
    systemctl("daemon-reload")
    started = [name for name in made if "@" not in name]
    systemctl("enable", "--quiet", *started)
    systemctl("restart", *sorted(started, reverse=True))  # the worker first lets go of its port, if it had an sshd
    return started


def remove(role: str) -> list[str]:
    """Stop, disable and remove the units of a role, and return their names.  Raises :exc:`ServiceProblem`."""
    check(role)
    found = known(role)
    if not found:
        raise ServiceProblem(f"There is no service of an OctaPi {role} on this device.")
    for name in found:
        refuse_foreign(name)
    for name in found:
        drop(name)
    systemctl("daemon-reload")
    return found


def known(role: str) -> list[str]:
    """Return the names of the units of a role that are there; the service is first."""
    names = [f"octapi-{role}.service", *systemd_units.logins(role, 0, "", Path("/"))]
    return [name for name in names if (UNITS / name).exists()]


def drop(name: str) -> None:
    """Stop, disable and delete one unit."""
    if "@" not in name:
        systemctl("disable", "--quiet", "--now", name)
    (UNITS / name).unlink()


def refuse_foreign(name: str) -> None:
    """Raise :exc:`ServiceProblem` when a unit of this name was not written by us."""
    path = UNITS / name
    if path.exists() and not path.read_text(encoding="utf-8").startswith(systemd_units.MARK.partition(";")[0]):
        raise ServiceProblem(f"{path} was not written by octapi. Move it away first.")


def systemctl(*arguments: str) -> None:
    """Tell systemd something.  Raises :exc:`ServiceProblem` with what it answers."""
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceProblem(f"systemctl {' '.join(arguments)}: {done.stderr.strip()}")
