"""The user's own modules that travel with a function: what the script has imported stays what it was then.

A module that the script has imported is sent as it was when it was first needed, until it is reloaded: an edit on disk
changes nothing for the running script, nor for its jobs.  One that only jobs import is sent as it is now.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
import types
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from octapi.client import script_sources
from octapi.client.attached_files import FRESH_NS, digest_of
from octapi.client.user_modules import beside, script_roots

if TYPE_CHECKING:
    from octapi.protocol.computation import File


KINDS: Final = (types.FunctionType, type)
#: more files than this, which the script has not imported, are looked at now and then only, in seconds
MANY: Final = 16
LOOK_S: Final = 0.05


class ModuleSnapshot(NamedTuple):
    """The modules that travel with the functions of one module, and what else jobs see of the script."""

    files: tuple[File, ...]
    digest: bytes
    #: what the script had imported, and from where, its arguments and its logging, when this was found out
    scene: tuple[Any, ...]
    #: the specs of those that the script has imported
    specs: tuple[tuple[str, Any], ...]
    #: where those are that it has not imported, and what they were like
    others: tuple[tuple[str, tuple[int, ...] | None], ...]
    #: when they were looked at, by the clock of :func:`time.monotonic`
    looked: list[float]

    def is_valid(self) -> bool:
        """Say whether the same would travel now."""
        modules, root = sys.modules, logging.root
        if self.scene != (len(modules), sys.path, sys.argv, root.level, root.handlers):
            return False
        for name, spec in self.specs:
            if getattr(modules.get(name), "__spec__", None) is not spec:
                return False
        return not self.others or self.are_others_same()

    def are_others_same(self) -> bool:
        """Say whether the files that are not imported are what they were; many are not looked at each time."""
        now = time.monotonic()
        if len(self.others) > MANY and now < self.looked[0] + LOOK_S:
            return True
        self.looked[0] = now
        return all(state_of(path) == state for path, state in self.others)


class ModuleSnapshots:
    """Finds out what travels with functions, and remembers it as long as it is true."""

    def __init__(self) -> None:
        self._carried: dict[str, ModuleSnapshot] = {}
        #: the source of imported modules, by their path and name: their spec and text
        self._kept: dict[str, tuple[Any, File]] = {}

    def of(self, function: object) -> ModuleSnapshot:
        """Return what travels with a callable."""
        subject = function if isinstance(function, KINDS) else type(function)
        module = subject.__module__
        found = self._carried.get(module)
        if found is None or not found.is_valid():
            found = self._carried[module] = self._find(subject)
        return found

    def _find(self, function: object) -> ModuleSnapshot:
        root = logging.root
        scene = len(sys.modules), list(sys.path), list(sys.argv), root.level, list(root.handlers)
        roots = script_roots()
        files, specs, others = [], [], []
        for file in beside(function):
            name = module_name(file.path)
            module = sys.modules.get(name)
            spec = getattr(module, "__spec__", None)
            if spec is None:
                path = next((str(root / file.path) for root in roots if (root / file.path).is_file()), "")
                others.append((path, settled_state_of(path)))
            else:
                specs.append((name, spec))
                file = self._as_imported(file, spec)
            files.append(file)
        facts = repr((scene[2], script_sources.logging_of_script())).encode()
        digest = hashlib.blake2b(digest_of(files) + facts, digest_size=16).digest()
        return ModuleSnapshot(tuple(files), digest, scene, tuple(specs), tuple(others), [time.monotonic()])

    def _as_imported(self, file: File, spec: object) -> File:
        kept = self._kept.get(file.path)
        if kept is None or kept[0] is not spec:
            kept = self._kept[file.path] = spec, file
        return kept[1]


def module_name(path: str) -> str:
    """Return the name by which a source file below a root is imported."""
    parts = path.removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def state_of(path: str) -> tuple[int, ...] | None:
    """Return what tells that a file changed; None for one that is not there."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - it is asked at each call, and a path object takes three times as long
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino, facts.st_ctime_ns


def settled_state_of(path: str) -> tuple[int, ...] | None:
    """Return the same, or what is never true for a file that may change again without another time."""
    state = state_of(path)
    return state if state is None or max(state[0], state[3]) < time.time_ns() - FRESH_NS else ()
