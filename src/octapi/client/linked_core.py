"""The core with a link: it carries out what the core decides."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVarTuple

from octapi.client import instructions as to_do
from octapi.client.core import Core

Ts = TypeVarTuple("Ts")

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.client.instructions import Instruction
    from octapi.client.link import Link
    from octapi.protocol.news import News
    from octapi.protocol.outcome import WorkerInfo


class LinkedCore(Core):
    """Receives what the link reports, with the time; whatever is decided then is carried out before it returns.

    What a link reports while something is carried out is decided at once, and carried out after that.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_carrying = False
        self._carriers: dict[type[Any], Callable[[Link, Any], None]] = {
            to_do.Define: lambda link, it: link.define(it.digest, it.spec, it.facts),
            to_do.Send: lambda link, it: link.run(it.ident, it.queue, it.digest, it.spec),
            to_do.Tell: lambda link, it: link.tell(it.worker, it.order),
            to_do.Claim: lambda link, it: link.claim(it.rows),
        }

    def run(self, function: Callable[[*Ts], None], *args: *Ts) -> None:
        """Run ``function`` safely, and carry out what it decides."""
        self.run_safely(function, *args)
        self.carry_out()

    def call(self, function: Callable[[*Ts], None], *args: *Ts) -> None:
        """Run ``function`` where the state lives; here at once."""
        self.run(function, *args)

    # ---- carrying out

    def carry_out(self) -> None:
        """Carry out what was decided, in its order."""
        if self._is_carrying:
            return
        self._is_carrying = True
        try:
            while self.instructions:
                self._carry(self.instructions.popleft())
        finally:
            self._is_carrying = False

    def _carry(self, instruction: Instruction) -> None:
        if isinstance(instruction, to_do.Notify):
            for watcher in list(self.watchers):
                self.run_safely(watcher, *instruction)
        elif self.link is not None and not self.is_broken:
            try:
                self._carriers[type(instruction)](self.link, instruction)
            except BaseException as error:
                self.run_safely(self._failed, instruction, error)

    def _failed(self, instruction: Instruction, error: BaseException) -> None:
        """Decide what follows when something could not be carried out."""
        if isinstance(instruction, to_do.Send):
            self.sending_failed(instruction.ident, error)
        elif isinstance(instruction, to_do.Define):
            self.defining_failed(instruction.digest, error)
        else:
            self.complain(error, f"{type(instruction).__name__} could not be carried out")

    # ---- what the link reports

    def message(self, worker: str, news: News) -> None:
        """Something is new of a batch or a computation."""
        self.hear(worker, news, time.time())
        self.carry_out()

    def workers_changed(self, workers: dict[str, WorkerInfo]) -> None:
        """Take the workers there are now."""
        super().workers_changed(workers)
        self.carry_out()

    def stop_jobs(self) -> None:
        """Cancel all jobs."""
        super().stop_jobs()
        self.carry_out()

    def stop_job(self, ident: int) -> None:
        """Cancel the job of a batch that runs now."""
        super().stop_job(ident)
        self.carry_out()

    def master_renewed(self) -> None:
        """Tell another process of the master what there is."""
        super().master_renewed()
        self.carry_out()
