"""A batch that an agent holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octapi.pool.computations import Known
    from octapi.pool.processes import SlotProcess
    from octapi.protocol.specs import BatchSpec
    from octapi.protocol.wire import Blob


class Batch:
    """A batch that the agent holds; its specification has passed :func:`octapi.protocol.specs.batch`."""

    __slots__ = (
        "alone", "arrived", "child", "computation", "cut", "data", "extra", "form", "ids", "grouped", "ident", "jobs",
        "is_dropped", "known", "run", "seen", "skip", "started", "stopping", "timeout_s", "budget_s", "first", "failed",
    )  # fmt: skip

    def __init__(self, ident: Any, run: Any, computation: str, spec: BatchSpec, now: float) -> None:
        self.ident = ident
        self.run = run
        self.computation = computation
        self.form: str = spec["form"]
        self.data: Blob = spec["data"]
        self.skip: int = spec.get("skip", 0)
        #: where it began here, and how many of its jobs have ended in an error, for :mod:`octapi.telemetry.counters`
        self.first, self.failed = self.skip, 0
        self.jobs: int = spec["jobs"]
        self.budget_s: float = spec.get("budget_s", 0.1)
        self.timeout_s: float | None = spec.get("timeout_s")
        self.extra: list[Any] = spec.get("extra") or []
        #: no other job may run on this worker meanwhile
        self.alone: bool = spec.get("alone", False)
        self.ids: Any = spec.get("ids", b"")
        self.grouped: bool = spec.get("grouped", False)
        self.arrived = now
        self.started = 0.0
        self.seen = -1
        self.stopping = -1
        self.cut: int | None = None
        self.child: SlotProcess | None = None
        #: the computation that its slot runs it with, also after a newer one of the same digest has come
        self.known: Known | None = None
        #: nobody waits for it: nothing more is said of it but its end
        self.is_dropped = False
