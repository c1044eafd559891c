"""The nodes of one dispy cluster: which workers it uses, with how many CPUs, and what happens to them."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from octapi.dispy import allocate
from octapi.dispy.job import DispyJob
from octapi.dispy.logger import logger
from octapi.dispy.node import DispyNode, DispyNodeAvailInfo
from octapi.dispy.sources import read
from octapi.errors import DispyError

if TYPE_CHECKING:
    from octapi.client.queue import ComputationQueue
    from octapi.dispy.allocate import NodeAllocate
    from octapi.dispy.argument_types import FilePath, NodeEntry, NodeName
    from octapi.dispy.cluster import JobCluster
    from octapi.protocol.computation import File
    from octapi.protocol.outcome import WorkerInfo


def avail_info(worker: WorkerInfo) -> DispyNodeAvailInfo | None:
    """Return a worker's free resources as dispy gives them; None if it does not tell."""
    health = worker.health
    return DispyNodeAvailInfo(*(health[key] for key in ("cpu", "memory", "disk", "swap"))) if health else None


class Nodes:
    """The nodes of one cluster.  ``limits`` is how many jobs at once each may have; 0 takes no new ones."""

    def __init__(self, cluster: JobCluster, entries: list[NodeAllocate]) -> None:
        self._cluster = cluster
        self.entries = entries
        self.found: dict[str, DispyNode] = {}
        self.limits: dict[str, int] = {}
        self.running: dict[str, set[DispyJob]] = {}
        self.closing: set[str] = set()
        #: each node's setup arguments and files from before the queue was open
        self.early: dict[str, tuple[bytes, tuple[File, ...]]] = {}
        self.queue: ComputationQueue | None = None
        self.wide = all(entry.is_pattern for entry in entries)

    # ---- which workers

    def consider(self, worker: WorkerInfo) -> bool:
        """Use a worker if an entry allocates CPUs of it."""
        for entry in self.entries:
            cpus = self._ask(entry, worker)
            if cpus > 0:
                return self._use(worker, min(cpus, worker.slots), entry)
        names = ", ".join(entry.host for entry in self.entries)
        if self._cluster.session.is_local:
            if "*" not in names:
                self._cluster.session.tell_once(f"there is no cluster with {names}; using this computer's cores.")
            return self._use(worker, worker.slots, self.entries[0])
        if self.wide and type(self.entries[0]).allocate is allocate.NodeAllocate.allocate:
            self._cluster.session.tell_once(f"no node matches {names}; using all workers.")
            return self._use(worker, worker.slots, self.entries[0])
        return False

    def _ask(self, entry: NodeAllocate, worker: WorkerInfo) -> int:
        info = avail_info(worker)
        try:
            return int(
                entry.allocate(
                    self._cluster,
                    worker.address,
                    worker.name,
                    worker.slots,
                    avail_info=info,
                    platform=worker.platform,
                )
            )
        except BaseException as error:  # the script's own code, also when it calls sys.exit
            logger.error("allocate() for node %s failed: %s: %s", worker.name, type(error).__name__, error)
            return 0

    def _use(self, worker: WorkerInfo, cpus: int, entry: NodeAllocate) -> bool:
        node = self.found.get(worker.name)
        if node is None:
            self.found[worker.name] = node = DispyNode(worker, cpus)
        node.cpus = cpus
        node.avail_info = avail_info(worker)
        self.limits[worker.name] = cpus
        self.running.setdefault(worker.name, set())
        self._give_own(worker.name, entry)
        return True

    def _give_own(self, name: str, entry: NodeAllocate) -> None:
        files = self._own_files(name, entry)
        args = pickle.dumps(tuple(entry.setup_args)) if entry.setup_args else b""
        if self.queue is None:
            self.early[name] = (args, files)
        else:
            self.queue.set_worker(name, args, files)

    def _own_files(self, name: str, entry: NodeAllocate) -> tuple[File, ...]:
        try:
            return tuple(read(path, self._cluster.session.cwd) for path in entry.depends)
        except (OSError, DispyError) as why:
            logger.error("The files for node %s cannot be read: %s", name, why)
            return ()

    def wanted(self) -> str:
        """Say which nodes the script named that are not there."""
        missing = [e.host for e in self.entries if not e.is_pattern and not self._is_there(e)]
        return f"The script names {', '.join(missing)}, which has not joined." if missing else ""

    def _is_there(self, entry: NodeAllocate) -> bool:
        return any(entry.matches(node.ip_addr, node.name) for node in self.found.values())

    def get(self, node: NodeName) -> DispyNode | None:
        """Return a node by DispyNode, name or address."""
        if isinstance(node, DispyNode):
            return self.found.get(node.name)
        return next((n for n in self.found.values() if node in (n.name, n.ip_addr)), None)

    def by_name(self, name: str) -> DispyNode | None:
        """Return a node by its name."""
        return self.found.get(name)

    def apply(self) -> None:
        """Tell the engine the limits."""
        if self.queue is not None:
            self.queue.wanted = self.wanted()
            self.queue.set_limits(self.limits)

    # ---- what scripts do with nodes

    def allocate(self, nodes: NodeEntry | list[NodeEntry]) -> int:
        """Use nodes again, or add new ones; 0, or -1 if one is not valid."""
        entries = [allocate.one(node) for node in (nodes if isinstance(nodes, list) else [nodes])]
        for entry in entries:
            if entry is None:
                return -1
            self.entries.insert(0, entry)
        for worker in self._cluster.session.engine.workers():
            self.closing.discard(worker.name)
            self.consider(worker)
        self.apply()
        return 0

    def deallocate(self, node: NodeName) -> int:
        """Give a node no new jobs; 0, or -1 for an unknown one."""
        found = self.get(node)
        if found is None:
            return -1
        self.limits[found.name] = 0
        self.apply()
        return 0

    def close(self, node: NodeName, terminate: bool) -> int:
        """Let a node finish its jobs (or kill them), clean up there, and use it no more."""
        found = self.get(node)
        if found is None or self.queue is None:
            return -1
        self.limits[found.name] = 0
        self.closing.add(found.name)
        self._drop_pinned(found.name)
        if terminate:
            self._kill(found.name)
        self.apply()
        self.queue.drop(found.name)
        return 0

    def resetup(self, node: NodeName, terminate: bool) -> int:
        """Let a node finish its jobs (or kill them), then run cleanup and setup again."""
        found = self.get(node)
        worker = next((w for w in self._cluster.session.engine.workers() if found and w.name == found.name), None)
        if worker is None or self.queue is None:
            return -1
        if terminate:
            self._kill(worker.name)
        self.consider(worker)
        self.apply()
        self.queue.renew(worker.name)
        return 0

    def _kill(self, name: str) -> None:
        for job in list(self.running.get(name, ())):
            self._cluster.cancel_now(job)

    def _drop_pinned(self, name: str) -> None:
        for job in self._cluster.pending_jobs():
            if job.worker == name and job not in self.running[name]:
                self._cluster.cancel_now(job)

    def set_cpus(self, node: NodeName, cpus: int) -> int:
        """Use another number of CPUs; return it, or -1 for an unknown node."""
        found = self.get(node)
        if found is None:
            return -1
        count = int(cpus)
        wanted = found.avail_cpus + count if count < 0 else min(count, found.avail_cpus)
        if wanted >= 0:
            found.cpus = wanted
            self.limits[found.name] = wanted
            self.apply()
        return found.cpus

    def jobs(self, node: NodeName) -> list[DispyJob] | int:
        """Return the jobs that run on a node, or -1 for an unknown one."""
        found = self.get(node)
        return -1 if found is None else list(self.running.get(found.name, ()))

    def send_file(self, path: FilePath, node: NodeName) -> int:
        """Copy a file into the computation's directory on a node; 0, or -1 for an unknown one."""
        found = self.get(node)
        with open(path, "rb"):  # noqa: PTH123  (FileNotFoundError is what scripts expect)
            pass
        if found is None or self.queue is None:
            return -1
        self.queue.send_file(read(path, self._cluster.session.cwd), found.name)
        return 0

    # ---- what happens to nodes

    def begun(self, job: DispyJob, name: str) -> DispyNode | None:
        """A node runs a job."""
        node = self.found.get(name)
        if node is not None:
            self.running[name].add(job)
            node.busy = len(self.running[name])
        return node

    def ended(self, job: DispyJob, name: str, sent: int, received: int) -> DispyNode | None:
        """A job has its final state; ``sent`` and ``received`` are bytes."""
        node = self.found.get(name)
        if node is None:
            return None
        running = self.running[name]
        running.discard(job)
        node.busy = len(running)
        node.tx += sent
        node.rx += received
        if job._status in (DispyJob.Finished, DispyJob.Terminated):
            node.jobs_done += 1
            node.cpu_time += (job.end_time or 0.0) - (job.start_time or 0.0)
        return node

    def left(self, name: str) -> DispyNode | None:
        """A worker is gone."""
        self.limits.pop(name, None)
        node = self.found.get(name)
        if node is not None:
            self.running[name].clear()
            node.busy = 0
        return node
