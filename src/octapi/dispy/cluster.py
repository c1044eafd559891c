"""JobCluster: a dispy computation on an OctaPi cluster."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Unpack, overload

from octapi.dispy import allocate, sources, table
from octapi.dispy.argument_types import OldArguments
from octapi.dispy.arguments import call_bytes
from octapi.dispy.callbacks import LOOK_S, STANDSTILL_S, Call, Owed, Patience
from octapi.dispy.describe import checked, describe, interval, new_shapes, own_facts, warn_about
from octapi.dispy.failures import Failures
from octapi.dispy.job import DispyJob
from octapi.dispy.listener import DispyListener
from octapi.dispy.logger import logger
from octapi.dispy.node import ClusterStatus, DispyNode
from octapi.dispy.nodes import Nodes, avail_info
from octapi.dispy.session import Session
from octapi.errors import DispyError
from octapi.protocol import source_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from octapi.dispy.argument_types import (
        ClusterStatusChange,
        Depend,
        FilePath,
        JobStatus,
        NodeEntries,
        NodeEntry,
        NodeName,
        Work,
    )
    from octapi.protocol.computation import Computation
    from octapi.protocol.outcome import WorkerInfo

#: how long a job that was cancelled and runs has to catch KeyboardInterrupt and return, in seconds
GRACE_S = 6.0
#: how long a callback may stand at one place before the table is printed without it, in seconds
PRINT_STANDSTILL_S = 5.0


class JobCluster:
    """Runs jobs of one computation: a function, a method, or a program's path.

    ``nodes`` says which workers may take them, ``depends`` what they need, ``job_status`` and
    ``cluster_status`` are called when something happens, ``setup`` and ``cleanup`` run once on each
    node, ``reentrant`` lets jobs of a lost node run again.  Arguments about dispy's own transport
    are accepted and not needed.  Raises :exc:`octapi.errors.DispyError` for arguments that cannot be used.
    """

    def __init__(
        self,
        computation: Work,
        nodes: NodeEntries | None = None,
        depends: Iterable[Depend] | None = (),
        job_status: JobStatus | None = None,
        cluster_status: ClusterStatusChange | None = None,
        host: object = None,
        dispy_port: int | str | None = None,
        ext_host: object = None,
        ip_addr: object = None,
        ext_ip_addr: object = None,
        ipv4_udp_multicast: bool = False,
        dest_path: str | None = None,
        loglevel: int = 20,
        callback: JobStatus | None = None,
        setup: Callable[..., object] | None = None,
        cleanup: Callable[..., object] | bool | None = True,
        ping_interval: float | None = None,
        pulse_interval: float | None = None,
        poll_interval: float | None = None,
        reentrant: bool = False,
        secret: str = "",
        keyfile: object = None,
        certfile: object = None,
        recover_file: FilePath | None = None,
        **old: Unpack[OldArguments],
    ) -> None:
        if unknown := set(old) - set(OldArguments.__annotations__):
            raise TypeError(f"{type(self).__name__}() got unexpected arguments: {', '.join(sorted(unknown))}")
        logger.setLevel(loglevel)
        warn_about(old, ip_addr, ext_ip_addr, dispy_port)
        if callback is not None:
            logger.warning('"callback" is deprecated; use "job_status"')
        self.job_status = checked(job_status or callback, 1, "job_status")
        self.cluster_status = checked(cluster_status, 3, "cluster_status")
        interval(ping_interval, 1, 1000, "ping_interval")
        self._pulse_s = interval(pulse_interval, 0.1, 1000, "pulse_interval")
        interval(poll_interval, 5, 1000, "poll_interval")
        if not isinstance(reentrant, bool):
            logger.warning('"reentrant" must be True or False; False is used')
        entries = allocate.parse(nodes)
        self.session = Session.shared(recover_file)
        found, self._names = describe(computation, depends, setup, cleanup, dest_path, self.session.cwd)
        self._name: str | None = found.name
        self._shown = found.name
        self._size = len(found.to_bytes())
        self._retries = 2 if reentrant is True else 0
        self._unfinished: set[DispyJob] = set()
        self._change = threading.Condition()
        self._owed = Owed(self._change)
        self._failures = Failures()
        self._final = 0
        self._last_pulse: dict[str, float] = {}
        self.start_time = time.time()
        self.end_time: float | None = None
        self.cpu_time = 0.0
        self.was_printed = False
        self._open(found, entries)

    def _open(self, found: Computation, entries: list[allocate.NodeAllocate]) -> None:
        self.nodes = Nodes(self, entries)
        for worker in self.session.engine.workers():
            self.nodes.consider(worker)
        facts = {name: own_facts(args, files) for name, (args, files) in self.nodes.early.items()}
        self._lane = self.session.engine.open(
            found, limits=self.nodes.limits, listener=DispyListener(self), worker_facts=facts
        )
        self._lane.wanted = self.nodes.wanted()
        self.nodes.queue = self._lane
        self.session.clusters.add(self)

    @property
    def name(self) -> str:
        """The function's name, or the program as it was given."""
        if self._name is None:
            raise AttributeError("The cluster is closed.")
        return self._name

    # ---- jobs

    @overload
    def submit(self, *args: Any, dispy_job_depends: Iterable[Depend], **kwargs: Any) -> DispyJob | None: ...
    @overload
    def submit(self, *args: Any, **kwargs: Any) -> DispyJob: ...
    def submit(self, *args: Any, **kwargs: Any) -> DispyJob | None:
        """Queue a job and return it at once; None, with a warning, if its dependencies are not valid."""
        if not kwargs:
            return self._submit(None, None, args, kwargs)
        return self._submit(None, kwargs.pop("dispy_job_depends", None), args, kwargs)

    @overload
    def submit_job_id(
        self, job_id: Any, *args: Any, dispy_job_depends: Iterable[Depend], **kwargs: Any
    ) -> DispyJob | None: ...
    @overload
    def submit_job_id(self, job_id: Any, *args: Any, **kwargs: Any) -> DispyJob: ...
    def submit_job_id(self, job_id: Any, *args: Any, **kwargs: Any) -> DispyJob | None:
        """Queue a job that has its id from the start."""
        return self._submit(None, kwargs.pop("dispy_job_depends", None), args, kwargs, job_id)

    def submit_node(self, node: NodeName, *args: Any, **kwargs: Any) -> DispyJob | None:
        """Queue a job for one node: a DispyNode, an address or a name; None if it is not one of this cluster's."""
        return self.submit_job_id_node(None, node, *args, **kwargs)

    def submit_job_id_node(self, job_id: Any, node: NodeName, *args: Any, **kwargs: Any) -> DispyJob | None:
        """Queue a job with an id for one node."""
        found = self.nodes.get(node)
        if found is None or not self.nodes.limits.get(found.name):
            logger.warning("Node %s is not one that this cluster uses now; job not submitted", node)
            return None
        return self._submit(found.name, kwargs.pop("dispy_job_depends", None), args, kwargs, job_id)

    def _submit(
        self,
        worker: str | None,
        depends: Iterable[Depend] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        job_id: Any = None,
    ) -> DispyJob | None:
        if self._name is None:
            raise AttributeError("The cluster is closed; make a new one to submit jobs.")
        if self.session.is_foreign:
            self._check_process()
        error = None
        try:
            data = call_bytes(args, kwargs, self._names)
        except Exception as why:  # the job says so itself
            data, error = b"", why
        job = DispyJob(job_id, args, kwargs, self, data, self._retries)
        job.worker = worker
        if depends and not self._take_depends(job, depends):
            return None
        if self.job_status is not None or self.cluster_status is not None:
            job._window = self.session.callbacks.windows.open()
        self._unfinished.add(job)
        if self.cluster_status is not None:
            self._status(DispyJob.Created, None, job)
        if error is not None:
            logger.warning("Arguments of job %s cannot be sent: %s", job.id, error)
            text = f"The arguments cannot be pickled: {type(error).__name__}: {error}\n"
            self._lane.dispatcher.call_and_wait(job.refuse, text)
            return job
        try:
            self._lane.submit(job)
        except BaseException:  # nobody may wait for it
            self._unfinished.discard(job)
            raise
        return job

    def _take_depends(self, job: DispyJob, depends: Iterable[Depend]) -> bool:
        try:
            shapes = new_shapes(self._names)
            job.files = sources.collect(depends, self.session.cwd, shapes)
        except (DispyError, OSError, TypeError) as why:
            logger.warning("Creating job failed: %s", why)
            return False
        job.code = source_pieces.write(shapes.pieces).encode()
        return True

    def cancel(self, job: DispyJob) -> int:
        """Cancel a job; 0, or -1 if it is final already or being cancelled."""
        self.session.callbacks.windows.close()
        if job.status >= DispyJob.Cancelled or job._final:
            logger.warning("Job %s is not valid for cancelling (status %s)", job.id, job.status)
            return -1
        if job.status == DispyJob.Created:
            self._lane.cancel(job, GRACE_S)
            job.finish.wait(1)
        else:
            job.status = DispyJob.Cancelled
            self._lane.cancel(job, GRACE_S)
        return 0

    def cancel_now(self, job: DispyJob) -> None:
        """Stop a job without asking it to end by itself."""
        self._lane.cancel(job, 0.0)

    @property
    def _submitted(self) -> int:
        return self._final + len(self._unfinished)

    def pending_jobs(self) -> list[DispyJob]:
        """Return the jobs that are not final."""
        return list(self._unfinished)

    # ---- what jobs report, on the dispatcher's thread

    def _status(self, status: int, node: DispyNode | None, job: DispyJob | None, seen: int | None = None) -> None:
        if self.cluster_status is not None:
            copied = job.copied(seen) if job is not None else None
            self._call(self.cluster_status, (status, node, copied), job)

    def _job_status(self, job: DispyJob) -> None:
        if self.job_status is not None:
            self._call(self.job_status, (job.copied(),), job)

    def _call(self, function: Callable[..., object], args: tuple[object, ...], job: DispyJob | None) -> None:
        self._owed.add()
        self.session.callbacks.put(Call(function, args, job, self._owed.done))

    def _on_begun(self, job: DispyJob, name: str) -> None:
        node = self.nodes.begun(job, name)
        if self.cluster_status is not None:
            self._status(DispyJob.Running, node, job)

    def _on_provisional(self, job: DispyJob, size: int) -> None:
        self._job_status(job)
        if self.cluster_status is not None:
            node = next((n for n in self.nodes.found.values() if n.ip_addr == job.ip_addr), None)
            self._status(DispyJob.ProvisionalResult, node, job)

    def _on_again(self, job: DispyJob) -> None:
        if self.cluster_status is not None:
            self._status(DispyJob.Abandoned, None, job, DispyJob.Abandoned)

    def _on_final(self, job: DispyJob, name: str, sent: int, received: int, was_begun: bool) -> None:
        try:
            node = self.nodes.ended(job, name, sent, received)
            if job.exception:
                self._failures.add(job, name)
            if job.end_time and job.start_time:
                self.cpu_time += job.end_time - job.start_time
            if self.job_status is not None or self.cluster_status is not None:
                self._tell_final(job, node, was_begun)
        finally:  # whatever happens there, nobody waits for this job any longer
            self._unfinished.discard(job)
            self._final += 1  # all outcomes come on the dispatcher's thread
            if not self._unfinished:  # who waits looks at it, and begins to wait, with the condition's lock
                with self._change:
                    self._change.notify_all()

    def _tell_final(self, job: DispyJob, node: DispyNode | None, was_begun: bool) -> None:
        if self.cluster_status is not None and not was_begun and node is not None:
            self._status(DispyJob.Running, node, job, DispyJob.Running)
        if self.job_status is not None:
            self._job_status(job)
        if self.cluster_status is not None:
            self._status(job._status, None if job._status == DispyJob.Abandoned else node, job)

    # ---- what workers do, on the dispatcher's thread

    def _on_worker(self, event: str, worker: WorkerInfo) -> None:
        if event == "joined":
            # the news may come after the script has used the node, and said something else of it
            if worker.name not in self.nodes.limits and self.nodes.consider(worker):
                self.nodes.apply()
        elif event == "left":
            node = self.nodes.left(worker.name)
            if node is not None:
                self._status(DispyNode.Closed, node, None)
        else:
            self._on_pulse(worker)

    def _on_pulse(self, worker: WorkerInfo) -> None:
        node = self.nodes.by_name(worker.name)
        now = time.time()
        if node is None:
            return
        node.avail_info, node.update_time = avail_info(worker), now
        if now - self._last_pulse.get(worker.name, 0.0) >= (self._pulse_s or 600.0):
            self._last_pulse[worker.name] = now
            self._status(DispyNode.AvailInfo, node, None)

    def _on_ready(self, worker: WorkerInfo) -> None:
        node = self.nodes.by_name(worker.name)
        if node is not None:
            node.tx += self._size
            self._status(DispyNode.Initialized, node, None)

    def _on_closed(self, worker: WorkerInfo) -> None:
        node = self.nodes.by_name(worker.name)
        if node is not None and worker.name in self.nodes.closing:
            self.nodes.closing.discard(worker.name)
            self._status(DispyNode.Closed, node, None)

    # ---- the cluster

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no job is pending and all callbacks have run; False if ``timeout`` seconds pass before.

        A callback that calls it waits for the jobs only.  Raises :exc:`DispyError` in another process than the
        cluster's.
        """
        self._check_process()
        callbacks = self.session.callbacks
        callbacks.windows.close()
        if callbacks.is_own_thread():
            with self._change:
                return self._change.wait_for(lambda: not self._unfinished, timeout)
        end = None if timeout is None else time.monotonic() + timeout
        patience: Patience | None = None
        while not (done := self._is_idle_within(end)):
            if end is not None and time.monotonic() >= end:
                return False
            if self._unfinished:
                patience = None
                continue
            patience = patience or Patience(callbacks)
            if patience.is_over():
                return True
        return done

    def _is_idle_within(self, end: float | None) -> bool:
        """Wait for the next change, or a moment if only callbacks are missing; say if all is done."""
        with self._change:
            left = None if end is None else max(0.0, end - time.monotonic())
            if self._unfinished:
                self._change.wait(left)
            elif self._owed:
                self._change.wait(LOOK_S if left is None else min(left, LOOK_S))
            return not self._unfinished and not self._owed

    def _check_process(self) -> None:
        if self.session.is_foreign:
            raise DispyError("This cluster is of the process that forked this one. Make a JobCluster of its own here.")

    def cluster(self) -> None:
        """Wait until no job is pending."""
        self.wait()

    __call__ = cluster

    def close(self, timeout: float | None = None, terminate: bool = False) -> bool | None:
        """Wait for the jobs and give the nodes up; False if they are not done after ``timeout`` seconds."""
        if self._name is None or self.session.is_foreign:
            return None
        if not self.wait(timeout):
            if not terminate:
                return False
            for job in self.pending_jobs():
                self.cancel_now(job)
            self.wait(10)
        self._name = None
        self.end_time = time.time()
        self._lane.close()
        for node in self.nodes.found.values():
            self._status(DispyNode.Closed, node, None)
        self.session.callbacks.drain(STANDSTILL_S)
        self.session.closed(self)
        return True

    def shutdown(self) -> None:
        """Close, and wait for the callbacks."""
        self.close()
        self.session.callbacks.drain()

    def __enter__(self) -> JobCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Close.  As in dispy an exception ends the block and not the script; it is printed."""
        if error is not None:
            traceback.print_exception(kind, error, trace, file=sys.stderr)
        self.close()
        return not isinstance(error, (SystemExit, KeyboardInterrupt))

    def status(self) -> ClusterStatus:
        """Return the nodes and the number of pending jobs."""
        self.session.callbacks.windows.close()
        return ClusterStatus(list(self.nodes.found.values()), len(self._unfinished))

    def failed(self) -> str:
        """Say in one line how many jobs failed, and why the first did; nothing if none did."""
        return self._failures.summary(self._submitted, self._shown)

    def print_status(self, wall_time: float | None = None) -> None:
        """Print the table of who did what, once the callbacks of what is done have run."""
        self.was_printed = True
        self.session.callbacks.windows.close()
        self.session.callbacks.drain(PRINT_STANDSTILL_S)
        print(self.table(wall_time) if self._name is not None else table.render((), 0, self._wall(wall_time)))

    def table(self, wall_time: float | None = None) -> str:
        """Return the table of who did what as text."""
        return table.render(self.nodes.found.values(), len(self._unfinished), self._wall(wall_time))

    def _wall(self, wall_time: float | None) -> float:
        return wall_time if wall_time is not None else time.time() - self.start_time

    stats = print_status

    # ---- nodes

    def discover_nodes(self, nodes: object) -> int:
        """Look for workers again; they join by themselves, so there is nothing to do: 0."""
        return 0

    def allocate_node(self, node: NodeEntry | list[NodeEntry]) -> int:
        """Use a node, or a list of them, again or anew; 0, or -1 if one is not valid."""
        return self.nodes.allocate(node)

    def deallocate_node(self, node: NodeName) -> int:
        """Give a node no new jobs; 0, or -1 for an unknown one."""
        return self.nodes.deallocate(node)

    def close_node(self, node: NodeName, terminate_pending: bool = False) -> int:
        """Let a node finish its jobs (or kill them), clean up there, and use it no more."""
        return self.nodes.close(node, terminate_pending)

    def resetup_node(self, node: NodeName, terminate_pending: bool = False) -> int:
        """Let a node finish its jobs (or kill them), then run cleanup and setup there again."""
        return self.nodes.resetup(node, terminate_pending)

    def set_node_cpus(self, node: NodeName, cpus: int) -> int:
        """Use another number of a node's CPUs; the number then used, or -1 for an unknown node."""
        return self.nodes.set_cpus(node, cpus)

    def node_jobs(self, node: NodeName, from_node: bool = False) -> list[DispyJob] | int:
        """Return the jobs that run on a node, or -1 for an unknown one."""
        return self.nodes.jobs(node)

    def send_file(self, path: FilePath, node: NodeName, relay: bool = False) -> int:
        """Copy a file into the computation's directory on a node; 0, or -1 for an unknown one."""
        return self.nodes.send_file(path, node)
