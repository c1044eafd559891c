"""How jobs are to run: what may be said of it, checked where it is said."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import operator
import os
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, TypedDict, cast

from octapi.errors import OptionError, OptionTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence

RETRIES = 2
#: the longest time limit, in seconds: about a year
LONGEST_S = 366 * 86_400.0
#: marks an option that slots are told: a computation has a field of the same name
FOR_SLOTS = types.MappingProxyType({"for_slots": True})


@dataclasses.dataclass(frozen=True)
class Options:
    """How jobs are to run; made by :meth:`octapi.Cluster.options`.

    ``timeout_s``: seconds after which a job is stopped and fails with JobTimeout; None for no limit.
    ``retries``: how often a job is started again when its worker is lost.
    ``worker``: the name of the only worker that may run it.  ``wait_for_worker``: whether to wait for that worker when
    it is not there; if not, ``submit`` and ``map`` raise WorkerNotFound.  ``files``: local paths to send along; they
    lie in the job's working directory.  ``files_to``: the directory that takes what the job sends home
    with :func:`octapi.send_file`, by default the working directory.

    Raises :exc:`octapi.errors.OptionError` for a value that cannot be used.
    """

    timeout_s: float | None = dataclasses.field(default=None, metadata=FOR_SLOTS)
    retries: int = RETRIES
    worker: str | None = None
    files: tuple[str | Path, ...] = ()
    files_to: str | Path = ""
    wait_for_worker: bool = True
    #: the names and values of what slots are told, as fields of :class:`octapi.protocol.computation.Computation`
    for_slots: tuple[tuple[str, Any], ...] = dataclasses.field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        """Check every value, and bring it to its type."""
        checked = {
            "timeout_s": limit_of(self.timeout_s),
            "retries": count_of(self.retries),
            "worker": worker_of(self.worker),
            "files": files_of(self.files),
            "files_to": path_of("files_to", self.files_to),
            "wait_for_worker": flag_of(self.wait_for_worker),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        own = (field.name for field in dataclasses.fields(self) if field.metadata == FOR_SLOTS)
        object.__setattr__(self, "for_slots", tuple((name, checked[name]) for name in own))


class OptionArguments(TypedDict, total=False):
    """The same by name, as type checkers see what :meth:`octapi.Cluster.options` takes."""

    timeout_s: float | None
    retries: int
    worker: str | None
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    files_to: str | os.PathLike[str]
    wait_for_worker: bool


def options_of(given: OptionArguments) -> Options:
    """Make options of what was given by name.  Raises :exc:`OptionError`."""
    known = [field.name for field in dataclasses.fields(Options) if field.init]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
            raise OptionTypeError(f"There is no option {name!r}. {hint}")
    return Options(**cast("Any", given))  # which brings each value to its type


def limit_of(value: object) -> float | None:
    """Check a time limit."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise OptionTypeError(f"timeout_s is {shown(value)}; it must be a number of seconds, or None for no limit.")
    try:
        seconds = float(value)
    except (OverflowError, ValueError):
        seconds = math.inf
    if not 0 < seconds <= LONGEST_S:
        raise OptionError(
            f"timeout_s is {shown(value)}; it must be more than 0 and at most {LONGEST_S:.0f} seconds (a year), or "
            "None for no limit."
        )
    return seconds


def count_of(value: object) -> int:
    """Check a number of retries."""
    try:
        count = operator.index(value) if isinstance(value, SupportsIndex) and not isinstance(value, bool) else None
    except TypeError:
        count = None
    if count is None:
        raise OptionTypeError(f"retries is {shown(value)}; it must be a whole number, 0 or more.")
    if count < 0:
        raise OptionError(f"retries is {count}; it must be 0 or more.")
    return count


def worker_of(value: object) -> str | None:
    """Check a worker's name."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise OptionTypeError(f"worker is {shown(value)}; it must be a worker's name, or None for any worker.")
    if not value or not is_plain(value):
        raise OptionError(f"worker is {shown(value)}, which is no worker's name. Give None for any worker.")
    return value


def files_of(value: object) -> tuple[str | Path, ...]:
    """Check paths to send along; one may be given without a list."""
    if isinstance(value, str | os.PathLike):
        value = (value,)
    if not isinstance(value, list | tuple):
        raise OptionTypeError(f"files is {shown(value)}; it must be a path, or a list of paths.")
    return tuple(path_of("files", part) for part in value)


def path_of(name: str, value: object) -> str | Path:
    """Check a path."""
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str):
        raise OptionTypeError(f"{name} has {shown(value)}; a path must be a text or a pathlib.Path.")
    if "\0" in found:
        raise OptionError(f"{name} has {shown(value)}, which no file can be called.")
    return value if isinstance(value, str | Path) else Path(found)


def flag_of(value: object) -> bool:
    """Check a yes or no."""
    if not isinstance(value, bool):
        raise OptionTypeError(f"wait_for_worker is {shown(value)}; it must be True or False.")
    return value


def is_plain(text: str) -> bool:
    """Say whether a text can travel."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def shown(value: object) -> str:
    """Return a short text of a value; nothing that its ``__repr__`` raises gets out."""
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
