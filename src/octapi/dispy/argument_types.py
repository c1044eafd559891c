"""The types of what scripts pass to dispy's names, as far as type checkers can hold them against it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

if TYPE_CHECKING:
    from octapi.dispy.allocate import NodeAllocate
    from octapi.dispy.job import DispyJob
    from octapi.dispy.node import DispyNode

    #: an element of ``nodes=``; a dict or tuple has the arguments of NodeAllocate
    NodeEntry: TypeAlias = str | NodeAllocate | DispyNode | dict[str, Any] | tuple[Any, ...]
    #: ``nodes=``
    NodeEntries: TypeAlias = str | NodeAllocate | DispyNode | Sequence[NodeEntry]
    #: one of a cluster's nodes: itself, its name or its address
    NodeName: TypeAlias = str | DispyNode
    #: what is called with each final job
    JobStatus: TypeAlias = Callable[[DispyJob], object]
    #: what is called with each change of a node or a job
    ClusterStatusChange: TypeAlias = Callable[[int, DispyNode | None, DispyJob | None], object]

#: a function, a method or the path of a program
Work: TypeAlias = Callable[..., object] | str
#: an element of ``depends=``: what is sent ahead of jobs
Depend: TypeAlias = Callable[..., object] | ModuleType | str | Path
FilePath: TypeAlias = str | os.PathLike[str]


class OldArguments(TypedDict, total=False):
    """Names that old scripts pass; what they set is OctaPi's own affair now."""

    port: object
    node_port: object
    scheduler_node: object
