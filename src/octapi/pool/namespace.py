"""What the jobs of a worker find in their globals and environment without importing it.

The pool itself gives them nothing.  A layer that promises names (dispy's) brings a module with a subclass of
:class:`Namespace`, called ``Namespace`` too; fork servers and slots import it by its name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Namespace:
    """No names.  ``worker`` is the name of the worker, ``address`` the one that other devices know it by."""

    def __init__(self, worker: str, address: str) -> None:
        self.worker = worker
        self.address = address

    def to_plain(self) -> list[str]:
        """Describe it for another process; see :func:`load`."""
        return [type(self).__module__, self.worker, self.address]

    def of_worker(self) -> dict[str, str]:
        """Return what globals and environment of all jobs hold."""
        return {}

    def of_directory(self, home: str) -> dict[str, str]:
        """Return what they hold besides for the jobs of one computation, whose files are in ``home``."""
        return {}

    def of_text(self, text: str) -> dict[str, Any]:
        """Return what the globals of source text that is executed for each job hold."""
        return {}

    def of_slot(self, provisional: Callable[..., Any], send_file: Callable[..., Any]) -> dict[str, Any]:
        """Return what globals hold by which a job talks to its client."""
        return {}


def load(plain: Sequence[str]) -> Namespace:
    """Make a namespace from what :meth:`Namespace.to_plain` returned."""
    module, worker, address = plain
    found: Namespace = importlib.import_module(module).Namespace(worker, address)
    return found
