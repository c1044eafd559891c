"""A run, one execution of a script, and its states.  Decisions only: the time is an argument, nothing is written here.

    running ──bye──────────> done          the script said goodbye (attached) or ended with exit code 0 (submitted)
       │ ├───exit code─────> failed        a submitted script ended with another exit code
       │ ├───stop──────────> stopped       somebody stopped it
       │ ├───left──────────> gone ──fetched──> collected
       │ │                    │ └───aged─────> expired      its outcomes waited longer than the age limit
       │ └───master ended──> interrupted <──┘ (a run that is gone stays gone while outcomes of it wait)
       └<──comes back, or is restarted──┘

A run that is gone or interrupted becomes running again when its client comes back, or when the master restarts it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RUNNING: Final = "running"
GONE: Final = "gone"
DONE: Final = "done"
FAILED: Final = "failed"
STOPPED: Final = "stopped"
COLLECTED: Final = "collected"
EXPIRED: Final = "expired"
INTERRUPTED: Final = "interrupted"
STATES: Final = (RUNNING, GONE, DONE, FAILED, STOPPED, COLLECTED, EXPIRED, INTERRUPTED)

#: kinds: a script whose process is elsewhere, or one that was submitted and lives on the master
ATTACHED: Final = "attached"
SUBMITTED: Final = "submitted"

#: what may happen, and the state that follows from each state in which it may
MOVES: Final[dict[str, dict[str, str]]] = {
    "back": {RUNNING: RUNNING, GONE: RUNNING, INTERRUPTED: RUNNING, DONE: RUNNING, COLLECTED: RUNNING},
    "bye": {RUNNING: DONE, GONE: DONE},
    "failed": {RUNNING: FAILED, GONE: FAILED},
    "stop": {RUNNING: STOPPED, GONE: STOPPED, INTERRUPTED: STOPPED},
    "left": {RUNNING: GONE, INTERRUPTED: GONE},
    "fetched": {GONE: COLLECTED, INTERRUPTED: COLLECTED},
    "aged": {GONE: EXPIRED, INTERRUPTED: EXPIRED},
    "master ended": {RUNNING: INTERRUPTED},
}

LETTERS: Final = "bcdfghjkmnpqrstvwxz23456789"
IDENT: Final = re.compile(r"[0-9]{6}-[0-9]{6}-[a-z0-9]{3,8}")


def new_id(now: float) -> str:
    """Return an id for a run that begins at ``now`` (epoch seconds): its date and time (UTC), and three letters.

    Ids sort by time.  The letters alone name a run for as long as no other has them.
    """
    letters = "".join(secrets.choice(LETTERS) for _ in range(3))
    return f"{time.strftime('%y%m%d-%H%M%S', time.gmtime(now))}-{letters}"


def digest(token: str) -> str:
    """Return what is kept of a key: its SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as it is kept.  Times are epoch seconds by the cluster's clock.

    ``owner`` is the ident of the certificate that started it, empty without encryption; ``secret`` is the SHA-256 of
    the key by which others may fetch its outcomes.  ``waiting``, ``running``, ``done`` and ``failed`` count jobs
    (``done`` those that ended well), ``slots`` the most that the cluster had meanwhile.  ``kept`` is the number of
    messages that wait to be fetched, ``dropped`` of those that did not fit.  ``error`` is the end of a submitted
    script's stderr, or why the run ended as it did.
    """

    id: str
    script: str = ""
    arguments: tuple[str, ...] = ()
    kind: str = ATTACHED
    state: str = RUNNING
    user: str = ""
    host: str = ""
    owner: str = ""
    secret: str = field(default="", repr=False)
    release: str = ""
    python: str = ""
    submitted: float = 0.0
    started: float | None = None
    ended: float | None = None
    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    slots: int = 0
    functions: tuple[str, ...] = ()
    restartable: bool = False
    restarts: int = 0
    exit_code: int | None = None
    error: str = ""
    kept: int = 0
    dropped: int = 0

    @property
    def is_over(self) -> bool:
        """Say whether nothing more can come of it by itself."""
        return self.state not in (RUNNING, GONE)

    def row(self) -> tuple[object, ...]:
        """Return its values in the order of :data:`COLUMNS`."""
        return tuple(to_sql(getattr(self, name)) for name in COLUMNS)

    def public(self) -> dict[str, Any]:
        """Return what everybody in the cluster may know of it, as JSON takes it."""
        found = {name: getattr(self, name) for name in COLUMNS if name not in ("owner", "secret")}
        return found | {"arguments": list(self.arguments), "functions": list(self.functions)}


COLUMNS: Final = tuple(entry.name for entry in fields(Run))
SAVE: Final = f"INSERT OR REPLACE INTO runs ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"


def to_sql(value: object) -> object:
    """Return a value as SQLite keeps it: lists as JSON."""
    return json.dumps(value) if isinstance(value, tuple) else value


def of_row(row: tuple[Any, ...]) -> Run:
    """Read what :meth:`Run.row` returned."""
    facts = dict(zip(COLUMNS, row, strict=True))
    for name in ("arguments", "functions"):
        facts[name] = tuple(json.loads(facts[name]))
    return Run(**facts | {"restartable": bool(facts["restartable"])})


def may(run: Run, event: str) -> bool:
    """Say whether something can happen to a run as it is."""
    return run.state in MOVES[event]


def moved(run: Run, event: str, now: float, **facts: Any) -> Run:
    """Return a run after something happened to it; unchanged if it cannot happen to it as it is."""
    if not may(run, event):
        return run
    state = MOVES[event][run.state]
    if state == RUNNING:
        return replace(run, state=state, ended=None, exit_code=None, error="", **facts)
    nothing_runs = {} if state == GONE else {"waiting": 0, "running": 0}
    ended = run.ended if run.ended is not None else now
    return replace(run, state=state, ended=ended, **nothing_runs | facts)


def together(summaries: Iterable[Mapping[str, object]]) -> dict[str, Any]:
    """Add up what several clients of one run say of their jobs; what is no number counts nothing."""
    found: dict[str, Any] = {"functions": []}
    for summary in summaries:
        for key in ("waiting", "running", "done", "failed"):
            value = summary.get(key)
            found[key] = found.get(key, 0) + (value if isinstance(value, int) and value > 0 else 0)
        names = summary.get("functions")
        found["functions"] += list(names) if isinstance(names, (list, tuple)) else []
    return found


def counted(run: Run, summary: dict[str, Any], slots: int) -> Run:
    """Return a run with what its client says of its jobs; what is no number is left as it was."""
    counts: dict[str, Any] = {
        key: int(summary[key])
        for key in ("waiting", "running", "done", "failed")
        if isinstance(summary.get(key), int) and 0 <= summary[key] < 1 << 62
    }
    names = summary.get("functions")
    functions = run.functions
    if isinstance(names, (list, tuple)):
        fresh = [str(name)[:200] for name in names[:100] if str(name)[:200] not in functions]
        functions = (*functions, *fresh)[:100]
    return replace(run, **counts, functions=functions, slots=max(run.slots, slots))


def found(wanted: str, ids: list[str]) -> list[str]:
    """Return the ids that a person may mean: the whole id, or its last letters, or its beginning."""
    if wanted in ids:
        return [wanted]
    return [ident for ident in ids if ident.endswith(f"-{wanted}") or (len(wanted) > 5 and ident.startswith(wanted))]
