"""The names that dispy promises to jobs: docs/reference/dispy.md lists them."""

from __future__ import annotations

import importlib
import pickle
import sys
from typing import TYPE_CHECKING, Any

from octapi.pool import namespace

if TYPE_CHECKING:
    from collections.abc import Callable

#: modules that dispy gives to jobs without an import of their own
PREIMPORTED = (
    "argparse copy errno glob hashlib io marshal multiprocessing os pickle platform psutil re shutil signal socket "
    "stat struct subprocess sys tempfile threading time traceback"
).split()


class NodeLogger:
    """What dispy calls dispynode_logger: its lines go to the slot's own stderr, not to the job's."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        def log(message: Any, *args: Any) -> None:
            print(level, str(message) % args if args else message, file=sys.__stderr__, flush=True)

        return log


class Namespace(namespace.Namespace):
    """dispy's names."""

    def of_worker(self) -> dict[str, str]:
        """Return the node's name and address."""
        return {"dispy_node_name": self.worker, "dispy_node_ip_addr": self.address}

    def of_directory(self, home: str) -> dict[str, str]:
        """Return where the computation's files are."""
        return {"dispy_job_path": home}

    def of_text(self, text: str) -> dict[str, Any]:
        """Return dispy's helpers, and those of its modules that the text mentions: others only take time and memory."""
        helpers = {"dispynode_logger": NodeLogger(), "MsgTimeout": 10}
        return {**modules(text), **helpers, "serialize": pickle.dumps, "deserialize": pickle.loads}

    def of_slot(self, provisional: Callable[..., Any], send_file: Callable[..., Any]) -> dict[str, Any]:
        """Return the two functions by which a job talks to its client."""
        return {"dispy_provisional_result": provisional, "dispy_send_file": send_file}


def modules(text: str) -> dict[str, Any]:
    """Return those of dispy's modules that ``text`` mentions and that are here; a job that needs another says so."""
    found: dict[str, Any] = {}
    for name in (*PREIMPORTED, "pycos"):
        if name in text:
            try:
                found[name] = importlib.import_module(name)
            except ImportError:
                continue
    if "dispy." in text or "DispyJob" in text:
        dispy = importlib.import_module("octapi.dispy")
        found.update(dispy=dispy, DispyJob=dispy.DispyJob)
    return found
