"""Which nodes a cluster may use: NodeAllocate, and what ``nodes=`` accepts."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from octapi.dispy.logger import logger
from octapi.dispy.node import DispyNode
from octapi.errors import DispyError

if TYPE_CHECKING:
    from octapi.dispy.argument_types import NodeEntries
    from octapi.dispy.cluster import JobCluster
    from octapi.dispy.node import DispyNodeAvailInfo


class NodeAllocate:
    """A host, address or pattern with ``*``, and how many of its CPUs to use.

    ``cpus``: 0 is all, a positive number at most so many, a negative one all but so many.
    """

    def __init__(
        self,
        host: str,
        port: int | str | None = None,
        cpus: int | str | None = 0,
        depends: Iterable[str] = (),
        setup_args: tuple[object, ...] = (),
    ) -> None:
        self.host = host
        self.ip_addr: str | None = host
        self.port = whole(port, "port", host)
        self.cpus = whole(cpus, "cpus", host) or 0
        for path in depends:
            if not isinstance(path, str) or not Path(path).is_file():
                raise DispyError(f'Path "{path}" is not valid')
        if not isinstance(setup_args, tuple):
            raise DispyError('"setup_args" must be a tuple')
        self.depends = list(depends)
        self.setup_args = setup_args
        if "*" not in host:
            try:
                self.ip_addr = socket.gethostbyname(host)
            except OSError:
                logger.debug("%r is no host name here; it may be the name of a worker", host)
        pattern = self.ip_addr or host
        self.ip_rex = re.escape(pattern).replace(r"\*", ".*")

    def allocate(
        self,
        cluster: JobCluster,
        ip_addr: str,
        name: str,
        cpus: int,
        avail_info: DispyNodeAvailInfo | None = None,
        platform: str = "",
    ) -> int:
        """Return how many of a node's ``cpus`` to use; 0 or less leaves it out."""
        if not self.matches(ip_addr, name):
            return 0
        if self.cpus > 0:
            return min(self.cpus, cpus)
        return max(cpus + self.cpus, 0)

    def matches(self, ip_addr: str, name: str) -> bool:
        """Say whether a node is meant, by its address or its name."""
        return self.host == name or re.match(self.ip_rex, ip_addr) is not None

    @property
    def is_pattern(self) -> bool:
        """Whether it may match several nodes."""
        return "*" in self.host


def whole(value: int | str | None, what: str, host: str) -> int | None:
    """Return a whole number; another value is warned about, and is None."""
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        logger.warning("Invalid %s %r for %s ignored", what, value, host)
        return None


def parse(nodes: NodeEntries | None) -> list[NodeAllocate]:
    """Read ``nodes=``; specific addresses come before patterns.  Raises :exc:`DispyError`."""
    if nodes is None:
        nodes = ["*"]
    if isinstance(nodes, (str, DispyNode, NodeAllocate)):
        nodes = [nodes]
    if not isinstance(nodes, list):
        raise DispyError('"nodes" must be list of IP addresses or host names')
    found = [entry for node in nodes if (entry := one(node)) is not None]
    if not found:
        raise DispyError('"nodes" does not have valid nodes')
    return sorted(found, key=lambda entry: (entry.host == "*", entry.is_pattern))


def one(node: object) -> NodeAllocate | None:
    """Read one element of ``nodes=``; None, with a warning, if it is none."""
    if isinstance(node, NodeAllocate):
        return node
    if isinstance(node, str):
        return NodeAllocate(node)
    if isinstance(node, dict):
        return NodeAllocate(**node)
    if isinstance(node, DispyNode):
        return NodeAllocate(node.ip_addr)
    if isinstance(node, Iterable):
        return NodeAllocate(*node)
    logger.warning("Ignoring invalid node %r", node)
    return None
