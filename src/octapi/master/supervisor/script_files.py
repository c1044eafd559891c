"""A submitted script on the master's disk.

    runs/RUN/facts.json    what was submitted and what became of it, for the master alone
    runs/RUN/log.*         its output, for the master alone (master/supervisor/script_log.py)
    runs/RUN/home/         its script, its files and its own identity, for its account alone

What is written below ``home`` is written before the script's account has ever run, or with that account's rights, so
no link in there leads the master astray.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from octapi.device import files
from octapi.device.accounts import RUN_UIDS, Account, is_root, pids_of, unreadable
from octapi.errors import JobError, RunError
from octapi.protocol.computation import safe
from octapi.store import runs

FACTS: Final = "facts.json"
HOME: Final = "home"
#: the most files of one run, and the most arguments and bytes in them
MOST_FILES: Final = 1000
MOST_ARGUMENTS: Final = 1000
ARGUMENTS_LIMIT: Final = 100_000


@dataclass(slots=True)
class SubmittedScript:
    """One submitted run.  ``owner`` is the ident of who submitted it, ``uid`` its account (None: the master's own).

    ``state`` is ``uploading``, ``running`` or ``ended``.
    """

    id: str
    script: str
    arguments: list[str]
    owner: str
    user: str
    host: str
    restartable: bool
    submitted: float
    uid: int | None = None
    state: str = "uploading"
    restarts: int = 0
    exit_code: int | None = None
    ended: float | None = None

    @property
    def account(self) -> Account | None:
        """Return its account; None for the master's own."""
        return None if self.uid is None else Account(f"run {self.id}", self.uid, self.uid)

    def for_book(self) -> dict[str, Any]:
        """Return what the master's book must know of it."""
        return asdict(self)


def of_request(request: dict[str, Any], now: float) -> SubmittedScript:
    """Read a request to take a script.  Raises :exc:`RunError` for one that cannot be."""
    ident, script, arguments = request.get("run"), request.get("script"), request.get("arguments")
    if not isinstance(ident, str) or not runs.IDENT.fullmatch(ident):
        raise RunError("The run has no proper id.")
    if not isinstance(script, str) or not script or "/" in script or script.startswith((".", "-")):
        raise RunError(f"{script!r:.80} cannot be the name of a script.")
    if not isinstance(arguments, list) or not all(isinstance(part, str) and "\0" not in part for part in arguments):
        raise RunError("The arguments of a script must be texts.")
    if len(arguments) > MOST_ARGUMENTS or sum(map(len, arguments)) > ARGUMENTS_LIMIT:
        raise RunError(f"At most {MOST_ARGUMENTS} arguments, together {ARGUMENTS_LIMIT:,} characters, can be given.")
    owner, user, host = (str(request.get(key) or "")[:200] for key in ("owner", "user", "host"))
    return SubmittedScript(ident, script, arguments, owner, user, host, bool(request.get("restartable")), now)


class ScriptFiles:
    """The directory of all submitted runs.  Methods raise OSError when the disk does not do its part."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        self.limit = limit
        #: of each run whose files are coming: how many came, and their bytes
        self._came: dict[str, tuple[int, int]] = {}

    def open(self) -> list[SubmittedScript]:
        """Make the directory, and return the runs in it, the oldest first; what cannot be read is left alone."""
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.directory.chmod(0o711)
        found = []
        known = {entry.name for entry in fields(SubmittedScript)}
        for path in sorted(self.directory.glob(f"*/{FACTS}")):
            try:
                plain = json.loads(path.read_text(encoding="utf-8"))
                found.append(SubmittedScript(**{key: value for key, value in plain.items() if key in known}))
            except (ValueError, TypeError):
                continue
        return found

    def place(self, run: SubmittedScript) -> Path:
        """Return a run's directory."""
        return self.directory / run.id

    def home(self, run: SubmittedScript) -> Path:
        """Return the directory in which a run's script works."""
        return self.place(run) / HOME

    def create(self, run: SubmittedScript) -> None:
        """Make the directories of a run; nobody but the master can enter its home yet."""
        place = self.place(run)
        place.mkdir(mode=0o711)
        place.chmod(0o711)
        (place / HOME).mkdir(mode=0o700)
        self.save(run)

    def save(self, run: SubmittedScript) -> None:
        """Write down what is known of a run."""
        files.replace(self.place(run) / FACTS, json.dumps(asdict(run)), 0o600)

    def add(self, run: SubmittedScript, name: str, data: bytes, mode: int, *, is_first: bool) -> None:
        """Add bytes to a file of a run that has never run.  Raises :exc:`RunError` for what is not allowed."""
        try:
            path = self.home(run) / safe(name)
        except JobError as error:
            raise RunError(f"The file {name!r:.80} cannot be sent: its name leaves the run's directory.") from error
        if run.state != "uploading" or path == self.home(run) or Path(name).parts[0] == ".octapi":
            raise RunError(f"The file {name!r:.80} cannot be sent.")
        count, size = self._came.get(run.id, (0, 0))
        count, size = count + is_first, size + len(data)
        if size > self.limit:
            raise RunError(
                f"The script and its files have more than {self.limit >> 20} MB, the limit of this master "
                "(upload_mb in its settings.toml, or OCTAPI_UPLOAD_MB where it starts)."
            )
        if count > MOST_FILES:
            raise RunError(f"A run can bring at most {MOST_FILES} files.")
        self._came[run.id] = count, size
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("wb" if is_first else "ab") as file:
            file.write(data)
        path.chmod(mode & 0o700)

    def give(self, run: SubmittedScript) -> None:
        """Give a run's home to its account: no more files come."""
        self._came.pop(run.id, None)
        if run.uid is None:
            return
        home = self.home(run)
        for entry in (home, *home.rglob("*")):
            os.chown(entry, run.uid, run.uid, follow_symlinks=False)

    def remove(self, run: SubmittedScript) -> None:
        """Remove everything of a run."""
        self._came.pop(run.id, None)
        shutil.rmtree(self.place(run), ignore_errors=True)


def free_uid(taken: set[int | None]) -> int:
    """Return the number of an account that no run has and no login of this device.  Raises :exc:`RunError`."""
    import pwd

    for uid in RUN_UIDS:
        if uid not in taken and not pids_of(uid):
            try:
                pwd.getpwuid(uid)
            except KeyError:
                return uid
    raise RunError(f"This master keeps {len(RUN_UIDS)} runs already. Stop some: octapi stop RUN")


def can_give_accounts() -> bool:
    """Say whether scripts run under accounts of their own.

    Only root can give them.  Where no other account can enter this installation, the scheduler runs as root too, which
    the master has said, so scripts do no harm that their submitter could not do anyway.
    """
    return is_root() and not unreadable()
