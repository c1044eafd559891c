"""JobCluster: a dispy computation on an OctaPi cluster."""

from __future__ import annotations

import atexit
import functools
import inspect
import pickle
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi.connect import connect
from octapi.dispatch import computation as kinds
from octapi.dispatch.computation import Computation
from octapi.dispatch.lane import Listener
from octapi.dispatch.payload import call_bytes
from octapi.dispy import allocate, sources, table
from octapi.dispy.callbacks import Callbacks
from octapi.dispy.job import DispyJob
from octapi.dispy.logger import logger
from octapi.dispy.node import ClusterStatus, DispyNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.dispatch.dispatcher import Dispatcher
    from octapi.dispatch.ticket import WorkerInfo

#: names that old scripts pass; what they set is OctaPi's own affair now
TOLERATED = {"port", "node_port", "scheduler_node", "ip_addr", "ext_ip_addr", "callback"}


class Session:
    """What all clusters of one process share: the connection and the callback thread."""

    def __init__(self) -> None:
        self.engine: Dispatcher = connect()
        self.callbacks = Callbacks()
        self.clusters: set[JobCluster] = set()
        self.cwd = Path.cwd()
        self.engine.watch(self._changed)

    def _changed(self, event: str, worker: WorkerInfo) -> None:
        for cluster in list(self.clusters):
            cluster._on_worker(event, worker)

    @classmethod
    @functools.lru_cache(maxsize=1)
    def shared(cls) -> Session:
        """Return the process's session; it ends, after all jobs, when the script does."""
        session = cls()
        # Before threading's own exit handler joins threads: jobs are waited for while all still works.
        atexit.register(session.end)
        return session

    def end(self) -> None:
        """Wait for all jobs and callbacks, then close the connection."""
        for cluster in list(self.clusters):
            cluster.close()
        self.callbacks.drain()
        self.engine.close()


class Watch(Listener):
    """Tells a cluster about its computation's life on nodes."""

    def __init__(self, cluster: JobCluster) -> None:
        self._cluster = cluster

    def ready(self, worker: WorkerInfo) -> None:
        """Report Initialized."""
        self._cluster._on_ready(worker)

    def refused(self, worker: WorkerInfo, text: str) -> None:
        """Warn as dispy does."""
        logger.warning("Setup of %s on %s failed: %s", self._cluster.name, worker.name, text)

    def file(self, path: str, data: bytes, mode: int, mtime: float) -> None:
        """Put a file that a job sent below the directory in which the first cluster was made."""
        target = Session.shared().cwd / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        part.write_bytes(data)
        part.chmod(mode)
        part.replace(target)


def checked(callback: Any, count: int, what: str) -> Any:
    """Return a callback that takes ``count`` arguments; raise Exception for another."""
    if callback is None:
        return None
    if not callable(callback):
        raise Exception(f"Invalid {what} function {callback!r}")
    try:
        inspect.signature(callback).bind(*[None] * count)
    except TypeError as error:
        raise Exception(f"Invalid {what} function {callback!r}: it must take {count} argument(s)") from error
    return callback


class JobCluster:
    """Runs jobs of one computation: a function, a method, or a program's path."""

    def __init__(
        self,
        computation: Any,
        nodes: Any = None,
        depends: Any = (),
        job_status: Any = None,
        cluster_status: Any = None,
        host: Any = None,
        dispy_port: Any = None,
        ext_host: Any = None,
        ipv4_udp_multicast: bool = False,
        dest_path: str | None = None,
        loglevel: int = 20,
        setup: Any = None,
        cleanup: Any = True,
        ping_interval: Any = None,
        pulse_interval: Any = None,
        poll_interval: Any = None,
        reentrant: Any = False,
        secret: str = "",
        keyfile: Any = None,
        certfile: Any = None,
        recover_file: Any = None,
        **old: Any,
    ) -> None:
        if unknown := set(old) - TOLERATED:
            raise TypeError(f"JobCluster got unexpected arguments: {', '.join(sorted(unknown))}")
        logger.setLevel(loglevel)
        if "callback" in old:
            logger.warning('"callback" is deprecated; use "job_status"')
            job_status = job_status or old["callback"]
        self.job_status = checked(job_status, 1, "job_status")
        self.cluster_status = checked(cluster_status, 3, "cluster_status")
        self._allocators = allocate.parse(nodes)
        self._session = Session.shared()
        self._computation = describe(computation, depends, setup, cleanup, dest_path, self._session.cwd)
        self._name: str | None = self._computation.name
        self._retries = 2 if reentrant is True else 0
        self._nodes: dict[str, DispyNode] = {}
        self._unfinished: set[DispyJob] = set()
        self._deltas: deque[int] = deque()
        self._change = threading.Condition()
        self._submitted = 0
        self._final = 0
        self.start_time = time.time()
        self.end_time: float | None = None
        self.cpu_time = 0.0
        for worker in self._session.engine.workers():
            self._allocate(worker)
        self._lane = self._session.engine.open(
            self._computation, limits=self._limits(), listener=Watch(self), worker_args=self._worker_args()
        )
        self._session.clusters.add(self)

    @property
    def name(self) -> str:
        """The function's name, or the program as it was given."""
        if self._name is None:
            raise AttributeError("The cluster is closed.")
        return self._name

    # ---- nodes

    def _allocate(self, worker: WorkerInfo) -> None:
        for entry in self._allocators:
            try:
                cpus = entry.allocate(self, worker.address, worker.name, worker.slots, None, worker.platform)
            except Exception as error:
                logger.error("allocate of %s failed: %s", entry.host, error)
                continue
            if cpus > 0:
                self._nodes[worker.name] = DispyNode(worker, min(cpus, worker.slots))
                return
        if all(entry.is_pattern for entry in self._allocators):
            print(f"octapi: no node matches {self._allocators[0].host}; using all workers.", file=sys.stderr)
            self._nodes[worker.name] = DispyNode(worker, worker.slots)

    def _limits(self) -> dict[str, int]:
        return {name: node.cpus for name, node in self._nodes.items()}

    def _worker_args(self) -> dict[str, bytes]:
        args = next((entry.setup_args for entry in self._allocators if entry.setup_args), ())
        return dict.fromkeys(self._nodes, pickle.dumps(args)) if args else {}

    def _on_worker(self, event: str, worker: WorkerInfo) -> None:
        if event == "joined" and worker.name not in self._nodes:
            self._allocate(worker)
            self._lane.set_limits(self._limits())
        elif event == "left" and worker.name in self._nodes:
            self._status(DispyNode.Closed, self._nodes[worker.name], None, None)

    def _on_ready(self, worker: WorkerInfo) -> None:
        node = self._nodes.get(worker.name)
        if node is not None:
            self._status(DispyNode.Initialized, node, None, None)

    # ---- jobs

    def submit(self, *args: Any, **kwargs: Any) -> DispyJob | None:
        """Queue a job and return it at once; None, with a warning, if its dependencies are not valid."""
        depends = kwargs.pop("dispy_job_depends", None)
        return self._submit(None, depends, args, kwargs)

    def submit_job_id(self, job_id: Any, *args: Any, **kwargs: Any) -> DispyJob | None:
        """Queue a job that has its id from the start."""
        return self._submit(None, kwargs.pop("dispy_job_depends", None), args, kwargs, job_id)

    def submit_node(self, node: Any, *args: Any, **kwargs: Any) -> DispyJob | None:
        """Queue a job for one node: a DispyNode, an address or a name; None if it is not one of this cluster's."""
        return self.submit_job_id_node(None, node, *args, **kwargs)

    def submit_job_id_node(self, job_id: Any, node: Any, *args: Any, **kwargs: Any) -> DispyJob | None:
        """Queue a job with an id for one node."""
        found = self._node(node)
        if found is None:
            logger.warning("Node %r is not part of this cluster", node)
            return None
        return self._submit(found.name, kwargs.pop("dispy_job_depends", None), args, kwargs, job_id)

    def _submit(self, worker: str | None, depends: Any, args: Any, kwargs: Any, job_id: Any = None) -> DispyJob | None:
        if self._name is None:
            raise AttributeError("The cluster is closed.")
        try:
            payload, error = call_bytes(args, kwargs), None
        except Exception as why:
            payload, error = b"", why
        job = DispyJob(self, payload, args, kwargs, self._retries)
        job.worker = worker
        if job_id:
            job.id = job_id
        if depends:
            try:
                code, job.files = sources.collect(depends, self._session.cwd)
                job.code = code.encode()
            except Exception as why:
                logger.warning("Creating job failed: %s", why)
                return None
        self._submitted += 1
        self._unfinished.add(job)
        if self.cluster_status is not None:
            self._status(DispyJob.Created, None, job, job)
        if error is not None:
            logger.warning("Arguments of job cannot be sent: %s", error)
            job.exception = f"The arguments cannot be pickled: {type(error).__name__}: {error}\n"
            job.done, job.status = True, DispyJob.Cancelled
            self._on_final(job, None)
            return job
        self._lane.submit(job)
        return job

    def cancel(self, job: DispyJob) -> int:
        """Cancel a job; 0, or -1 if it is final already."""
        if job.status >= DispyJob.Cancelled:
            logger.warning("Job %s is not valid for cancelling (status %s)", job.id, job.status)
            return -1
        running = job.status != DispyJob.Created
        self._lane.cancel(job, 6.0)
        if not running:
            job.finish.wait(5)
        return 0

    # ---- what jobs report, on the dispatcher's thread

    def _status(self, status: int, node: DispyNode | None, job: DispyJob | None, original: DispyJob | None) -> None:
        if self.cluster_status is not None:
            copied = job.copied() if job is not None else None
            self._session.callbacks.put(self.cluster_status, (status, node, copied), original)

    def _on_begun(self, job: DispyJob, worker: WorkerInfo) -> None:
        node = self._nodes.get(worker.name)
        if node is not None and self.cluster_status is not None:
            self._status(DispyJob.Running, node, job, job)

    def _on_provisional(self, job: DispyJob) -> None:
        if self.job_status is not None:
            self._session.callbacks.put(self.job_status, (job.copied(),), job)
        self._status(DispyJob.ProvisionalResult, self._by_address(job.ip_addr), job, job)

    def _by_address(self, address: str | None) -> DispyNode | None:
        return next((node for node in self._nodes.values() if node.ip_addr == address), None)

    def _on_final(self, job: DispyJob, worker: WorkerInfo | None) -> None:
        self._unfinished.discard(job)
        self._final += 1
        node = self._nodes.get(worker.name) if worker is not None else None
        if node is not None and job.status in (DispyJob.Finished, DispyJob.Terminated):
            node.jobs_done += 1
            spent = (job.end_time or 0.0) - (job.start_time or 0.0)
            node.cpu_time += spent
            self.cpu_time += spent
        if self.job_status is not None:
            self._session.callbacks.put(self.job_status, (job.copied(),), job)
        if self.cluster_status is not None:
            self._status(job.status, node, job, job)
        if self._final >= self._submitted:
            with self._change:
                self._change.notify_all()

    # ---- the cluster

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no job is pending; False if ``timeout`` seconds pass before."""
        with self._change:
            return self._change.wait_for(lambda: self._final >= self._submitted, timeout)

    def cluster(self) -> None:
        """Wait until no job is pending."""
        self.wait()

    def close(self, timeout: float | None = None, terminate: bool = False) -> bool | None:
        """Wait for the jobs and give the nodes up; False if they are not done after ``timeout`` seconds."""
        if self._name is None:
            return None
        if not self.wait(timeout):
            if not terminate:
                return False
            for job in list(self._unfinished):
                self._lane.cancel(job, 0.0)
            self.wait(10)
        self._name = None
        self.end_time = time.time()
        self._lane.close()
        for node in self._nodes.values():
            self._status(DispyNode.Closed, node, None, None)
        self._session.clusters.discard(self)
        return True

    def shutdown(self) -> None:
        """Close, and wait for the callbacks."""
        self.close()
        self._session.callbacks.drain()

    def __enter__(self) -> JobCluster:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if error is not None:
            logger.error("Exception in the with block: %r", error)
        self.close()
        return True

    def status(self) -> ClusterStatus:
        """Return the nodes and the number of pending jobs."""
        return ClusterStatus(list(self._nodes.values()), self._submitted - self._final)

    def print_status(self, wall_time: float | None = None) -> None:
        """Print the table of who did what."""
        nodes = self._nodes.values() if self._name is not None else ()
        wall = wall_time if wall_time is not None else time.time() - self.start_time
        print(table.render(nodes, self._submitted - self._final, wall))

    stats = print_status

    def _node(self, node: Any) -> DispyNode | None:
        if isinstance(node, DispyNode):
            return self._nodes.get(node.name)
        return next((n for n in self._nodes.values() if node in (n.name, n.ip_addr)), None)


def describe(computation: Any, depends: Any, setup: Any, cleanup: Any, dest: str | None, cwd: Path) -> Computation:
    """Turn a dispy computation into one that travels as source text.  Raises Exception for others."""
    text, files = sources.collect(depends or (), cwd)
    extra: dict[str, Any] = {"dest": (dest or "").lstrip("/"), "keep_files": cleanup is False, "preimport": True}
    for key, function in (("setup", setup), ("cleanup", cleanup)):
        if isinstance(function, functools.partial):
            extra["setup_args"] = pickle.dumps(function.args)
            function = function.func
        if inspect.isfunction(function):
            text += sources.source_of(function)
            extra[key] = function.__name__
        elif function is not None and not isinstance(function, bool):
            raise Exception(f"Invalid {key}: {function!r} is not a function")
    if isinstance(computation, str):
        path = sources.program(computation)
        file = sources.read(path, path.parent.absolute())
        return Computation(kinds.PROGRAM, computation, entry=file.path, files=(*files, file), dest=extra["dest"])
    entry, source = callable_source(computation)
    if source not in text:
        text += source
    return Computation(kinds.SOURCE, computation.__name__, text.encode(), entry, files, **extra)


def callable_source(computation: Callable[..., Any]) -> tuple[str, str]:
    """Return the expression for a callable on the node, and the source that defines it."""
    if inspect.ismethod(computation):
        owner = type(computation.__self__)
        return f"{owner.__name__}.{computation.__name__}", sources.source_of(owner)
    if not inspect.isfunction(computation):
        raise Exception(f"Invalid computation type: {type(computation)}")
    if "." in computation.__qualname__ and "<locals>" not in computation.__qualname__:
        return computation.__qualname__, ""
    source = sources.source_of(computation)
    compile(source, computation.__name__, "exec")
    return computation.__name__, source


class SharedJobCluster(JobCluster):
    """A JobCluster; OctaPi shares its workers between scripts anyway."""

    def __init__(self, computation: Any, nodes: Any = None, depends: Any = (), **options: Any) -> None:
        for name in ("client_port", "scheduler_host", "exclusive"):
            options.pop(name, None)
        super().__init__(computation, nodes, depends, **options)
