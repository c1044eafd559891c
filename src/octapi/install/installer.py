"""Installs OctaPi for the system's Python from a directory of wheels, or removes it.

This file needs nothing but Python's standard library, because a bare device has nothing else:

    python3 install.py [--prefix DIR] --wheels DIR
    python3 install.py [--prefix DIR] --uninstall [--purge]

    PREFIX/releases/NAME/          a virtual environment; the release before stays until the next one comes
    PREFIX/releases/NAME/python/   the two packages that the system's Python sees
    PREFIX/current                 leads to the release in use, and is replaced at once
    PREFIX/install.py              this file
    octapi.pth                     in the system's directory of local packages, leads to PREFIX/current/python

Root installs for everybody, below /opt/octapi; anybody else for himself, below ~/.local/share/octapi.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

OLDEST = (3, 11)
ACCOUNTS = ("octapi", "octapi-slot")
#: the extras of octapi, each with a wheel that is there if it is
EXTRAS = {"examples": "py_enigma"}
#: those that run for longer are listed first; the templates of logins have nothing to stop
UNITS = ("octapi-worker.service", "octapi-master.service", "octapi-worker-ssh.socket", "octapi-master-ssh.socket")
TEMPLATES = ("octapi-worker-ssh@.service", "octapi-master-ssh@.service")
#: what a master keeps besides its identity
STATE = "/var/lib/octapi"

STUB = '''\
"""Lets the system's Python find {name}. Its libraries come into sight in programs that import it, and in no others."""

import importlib
import sys

if sys.version_info[:2] != {version}:
    raise ImportError("OctaPi was installed for Python {version[0]}.{version[1]}. Install it again for this one.")
while {place!r} in sys.path:  # behind this file it would not be found
    sys.path.remove({place!r})
ends = ("site-packages", "dist-packages")
sys.path.insert(next((n for n, path in enumerate(sys.path) if path.endswith(ends)), len(sys.path)), {place!r})
del sys.modules[__name__]  # the real one takes this one's place
importlib.import_module(__name__)
'''


class Problem(Exception):
    """Something that the person at the device must know."""


def say(text: str) -> None:
    """Tell how it goes."""
    print(f"octapi install: {text}", file=sys.stderr, flush=True)


class Place:
    """Where things go: the prefix, the link on the PATH, and the file by which the system's Python finds OctaPi."""

    def __init__(self, prefix: str) -> None:
        is_root = os.geteuid() == 0
        self.is_root = is_root
        self.prefix = Path(prefix or ("/opt/octapi" if is_root else Path.home() / ".local/share/octapi")).resolve()
        self.link = Path("/usr/local/bin/octapi") if is_root else Path.home() / ".local/bin/octapi"
        self.python = Path(getattr(sys, "_base_executable", sys.executable))
        code = "import site; print(site.getsitepackages()[0], site.getusersitepackages(), sep=chr(10))"
        found = subprocess.run([self.python, "-c", code], check=True, capture_output=True, text=True).stdout.split("\n")
        self.pth = Path(found[0 if is_root else 1]) / "octapi.pth"
        self.current = self.prefix / "current"

    def check(self) -> None:
        """Raise :exc:`Problem` before anything is changed."""
        if sys.version_info[:2] < OLDEST:
            raise Problem(f"OctaPi needs Python {OLDEST[0]}.{OLDEST[1]}; this is {sys.version.split()[0]}.")
        if self.link.exists() and not self.link.resolve().is_relative_to(self.prefix):
            raise Problem(f"{self.link} is there already and is none of this installer's. Move it away first.")
        if self.prefix.exists() and any(self.prefix.iterdir()) and not (self.prefix / "releases").is_dir():
            raise Problem(f"{self.prefix} is there already and is none of this installer's. Move it away first.")


def install(place: Place, wheels: Path) -> None:
    """Install from a directory of wheels, or do nothing if these very wheels are installed.  Raises :exc:`Problem`."""
    digest = hashlib.sha256()
    for path in sorted(wheels.glob("*.whl")):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    mark = digest.hexdigest() + sys.version
    stamp = place.current / "wheels.sha256"
    if stamp.exists() and stamp.read_text() == mark and (place.current / "bin/octapi").exists():
        say(f"these wheels are installed in {place.prefix} already.")
        return expose(place, place.current.resolve())
    release = place.prefix / "releases" / time.strftime("%Y%m%d-%H%M%S")
    try:
        build(release, place.python, wheels)
        (release / "wheels.sha256").write_text(mark)
    except BaseException:
        shutil.rmtree(release, ignore_errors=True)
        raise
    expose(place, release)
    forget_old(place)
    return None


def build(release: Path, python: Path, wheels: Path) -> None:
    """Make a virtual environment with OctaPi in it.

    It sees the system's packages, so that jobs may use what apt installed; OctaPi's own libraries come before them.
    """
    pip, package = newest(wheels, "pip"), newest(wheels, "octapi")
    extras = [extra for extra, name in EXTRAS.items() if list(wheels.glob(f"{name}-*.whl"))]
    run([python, "-m", "venv", "--without-pip", "--system-site-packages", release], "a virtual environment")
    mine = release / "bin/python"
    options = ("--isolated", "--disable-pip-version-check", "--quiet", "--no-cache-dir", "--no-index")
    what = (f"{package}[{','.join(extras)}]", newest(wheels, "octapi_dispy"), pip)
    say(f"installing into {release}.")
    run(
        [mine, pip / "pip", "install", *options, "--ignore-installed", "--find-links", wheels, *what],
        f"installing for Python {sys.version_info[0]}.{sys.version_info[1]} on {os.uname().machine}. If a wheel is "
        "missing, a master that reaches the internet gets it with 'octapi wheels fetch'",
    )
    library = next(release.glob("lib/python3.*/site-packages"))
    for name in ("octapi", "dispy"):
        target = release / "python" / name
        target.mkdir(parents=True)
        text = STUB.format(name=name, version=tuple(sys.version_info[:2]), place=str(library))
        (target / "__init__.py").write_text(text)


def newest(wheels: Path, name: str) -> Path:
    """Return the wheel of a distribution.  Raises :exc:`Problem` unless there is one."""
    found = list(wheels.glob(f"{name}-*.whl"))
    if len(found) != 1:
        raise Problem(f"There must be one wheel of {name} in {wheels}, and there are {len(found)}.")
    return found[0]


def run(command: Iterable[Any], what: str) -> None:
    """Run a program to its end.  Raises :exc:`Problem` with what it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Problem(f"Failed: {what}. It said:\n{(done.stdout + done.stderr).strip()}")


def replace(path: Path, text: str) -> None:
    """Write a file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)


def point(link: Path, target: Path) -> None:
    """Let a link lead to ``target`` at once."""
    link.parent.mkdir(parents=True, exist_ok=True)
    part = link.with_name(f".{link.name}.{os.getpid()}")
    part.symlink_to(target)
    part.replace(link)


def expose(place: Place, release: Path) -> None:
    """Make a release the one in use, and show it to the system's Python and the PATH.  Raises :exc:`Problem`."""
    if place.is_root:
        make_accounts()
    old = place.current.resolve() if place.current.exists() else None
    point(place.current, release)
    point(place.link, place.current / "bin/octapi")
    point(place.prefix / "install.py", next(release.glob("lib/python3.*/site-packages/octapi/install/installer.py")))
    replace(place.pth, f"{place.current / 'python'}\n")
    code = "import octapi, dispy; print(octapi.__file__, dispy.__file__, sep='\\n')"
    seen = subprocess.run([place.python, "-c", code], cwd="/", capture_output=True, text=True, check=False)
    wrong = [path for path in seen.stdout.split() if not Path(path).resolve().is_relative_to(release.resolve())]
    if seen.returncode or wrong:
        raise Problem(f"{place.python} finds another than the installed: {' '.join(wrong) or seen.stderr.strip()}")
    if old is not None and old != release and Path("/run/systemd/system").exists():
        subprocess.run(["systemctl", "try-restart", *UNITS[:2]], check=False, capture_output=True)
    say(f"installed. 'octapi' is {place.link}, and {place.python} finds octapi and dispy.")
    if str(place.link.parent) not in os.environ.get("PATH", "").split(":"):
        say(f"{place.link.parent} is not on your PATH now; it may be after the next login.")


def make_accounts() -> None:
    """Make the accounts of scheduler and jobs, each with a group of its name.  Raises :exc:`Problem`."""
    import grp
    import pwd

    users, groups = {row.pw_name for row in pwd.getpwall()}, {row.gr_name for row in grp.getgrall()}
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    for name in ACCOUNTS:
        if name in users:
            continue
        if program is None:
            raise Problem(f"There is no useradd here to make the account {name}. Make it by hand, and run this again.")
        group = ("--gid", name) if name in groups else ("--user-group",)
        options = ("--system", *group, "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")
        run([program, *options, name], f"making the account {name}")


def forget_old(place: Place) -> None:
    """Remove all releases but the one in use, and those from which a process still runs."""
    current, running = place.current.resolve(), in_use()
    for path in sorted((place.prefix / "releases").iterdir()):
        if path.resolve() != current and not any(os.fsencode(f"{path}/") in text for text in running):
            shutil.rmtree(path, ignore_errors=True)


def in_use(proc: Path = Path("/proc")) -> list[bytes]:
    """Return the command lines of the processes that this user may see, and the lists of the libraries they have."""
    found = []
    for path in (*proc.glob("[0-9]*/cmdline"), *proc.glob("[0-9]*/maps")):
        try:
            found.append(path.read_bytes())
        except OSError:  # it has ended, or is another's
            continue
    return found


def remove_units(directory: Path) -> None:
    """Stop, disable and remove the services that octapi made."""
    found = [unit for unit in (*UNITS, *TEMPLATES) if (directory / unit).exists()]
    for unit in found:
        if unit in UNITS:
            subprocess.run(["systemctl", "disable", "--now", unit], check=False, capture_output=True)
        (directory / unit).unlink()
    if found:
        subprocess.run(["systemctl", "daemon-reload"], check=False, capture_output=True)


def uninstall(place: Place, *, purge: bool) -> None:
    """Remove services, the link, the .pth file and the prefix; with ``purge`` identity and accounts too."""
    if place.is_root:
        remove_units(Path("/etc/systemd/system"))
    if place.link.is_symlink() and place.link.resolve().is_relative_to(place.prefix):
        place.link.unlink()
    place.pth.unlink(missing_ok=True)
    if (place.prefix / "releases").is_dir():
        shutil.rmtree(place.prefix)
    home = Path(os.environ.get("OCTAPI_HOME") or Path.home() / ".octapi")
    if not purge:
        kept = f"{home}{f', {STATE} and the accounts octapi and octapi-slot' if place.is_root else ''}"
        return say(f"removed. What stays: {kept}. '--purge' removes that too.")
    shutil.rmtree(home, ignore_errors=True)
    if place.is_root:
        shutil.rmtree(STATE, ignore_errors=True)
    for name in ACCOUNTS if place.is_root else ():
        subprocess.run(["userdel", name], check=False, capture_output=True)
    return say(f"removed, with {home}{f', {STATE} and the accounts' if place.is_root else ''}.")


# ---- the command


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="install", description="Installs OctaPi for the system's Python.")
    parser.add_argument("--prefix", default="", help="where; /opt/octapi for root")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--wheels", type=Path, help="install from this directory of wheels")
    what.add_argument("--uninstall", action="store_true", help="remove it, and its services")
    parser.add_argument("--purge", action="store_true", help="with --uninstall: identity and accounts too")
    return parser.parse_args()


def main() -> None:
    """Install or uninstall, and end with a message instead of a traceback."""
    options = arguments()
    os.umask(0o022)  # the accounts of jobs must be able to read it
    try:
        place = Place(options.prefix)
        if options.uninstall:
            return uninstall(place, purge=options.purge)
        place.check()
        return install(place, options.wheels.absolute())
    except (Problem, OSError) as error:
        sys.exit(f"octapi install: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
