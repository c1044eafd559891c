"""A page and a JSON interface that show what dispy clusters do: ``dispy.httpd.DispyHTTPServer``."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import urllib.parse
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi.dispy.allocate import NodeAllocate
from octapi.dispy.job import DispyJob
from octapi.dispy.logger import logger

if TYPE_CHECKING:
    from octapi.dispy.cluster import JobCluster
    from octapi.dispy.node import DispyNode

#: the largest form that is read, in bytes
FORM_LIMIT = 1 << 20
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".ico": "image/x-icon"}
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
PAGE = Path(__file__).with_name("monitor.html")
FINAL = (DispyJob.Finished, DispyJob.Terminated, DispyJob.Cancelled, DispyJob.Abandoned)


class Shown:
    """What the page knows of one cluster."""

    def __init__(self, cluster: JobCluster) -> None:
        self.cluster = cluster
        self.submitted = 0
        self.done = 0
        self.jobs: dict[int, DispyJob] = {}
        self.changed: dict[str, DispyNode] = {}

    def take(self, status: int, node: DispyNode | None, job: DispyJob | None) -> None:
        """Count one event."""
        if node is not None:
            self.changed[node.ip_addr] = node
        if job is None:
            return
        if status == DispyJob.Running:
            self.submitted += 1
            self.jobs[job._uid] = job
        elif status in FINAL:
            self.done += 1
            self.jobs.pop(job._uid, None)

    def as_json(self, nodes: list[DispyNode]) -> dict[str, Any]:
        """Describe it as dispy's own page does."""
        counts = {"submitted": self.submitted, "done": self.done}
        return {"name": self.cluster.name, "jobs": counts, "nodes": [plain(node) for node in nodes]}

    def running(self, address: str, show_args: bool) -> list[dict[str, Any]]:
        """Describe the jobs that run at an address."""
        found = [job for job in list(self.jobs.values()) if job.ip_addr == address]
        return [row(job, self.cluster.name, show_args) for job in found]


def plain(node: DispyNode) -> dict[str, Any]:
    """Return a node's fields."""
    info = node.avail_info
    return dict(vars(node), avail_info=vars(info) if info is not None else None)


def row(job: DispyJob, cluster: str, show_args: bool) -> dict[str, Any]:
    """Describe one running job."""
    args = [repr(arg) for arg in job._args] if show_args else []
    kwargs = {key: repr(value) for key, value in job._kwargs.items()} if show_args and job._kwargs else {}
    started = int(1000 * (job.start_time or job.submit_time))
    facts = {"uid": job._uid, "job_id": str(job.id), "args": ", ".join(args), "kwargs": kwargs}
    return dict(facts, start_time_ms=started, cluster=cluster)


class DispyHTTPServer:
    """Serves a page about ``cluster`` (or several, see :meth:`add_cluster`) from a thread of its own.

    ``host=''`` means this computer only, where dispy opened the page to the whole network: give
    ``host='0.0.0.0'`` for that.  ``port=0`` takes a free one; ``port`` then tells which.  ``poll_sec``
    is how often the page asks, at least 1.  ``DocumentRoot`` is a directory with files of your own,
    ``keyfile`` and ``certfile`` turn on TLS.  Raises OSError when the port is taken.
    """

    def __init__(
        self,
        cluster: JobCluster | None,
        host: str = "",
        port: int = 8181,
        poll_sec: float = 10,
        DocumentRoot: Any = None,  # noqa: N803  (dispy's name)
        keyfile: Any = None,
        certfile: Any = None,
        show_job_args: bool = True,
    ) -> None:
        if poll_sec < 1:
            logger.warning("poll_sec %s is too short; 1 is used", poll_sec)
            poll_sec = 1
        self.poll_sec = poll_sec
        self.show_job_args = show_job_args
        self.root = Path(DocumentRoot) if DocumentRoot else None
        self.clusters: dict[str, Shown] = {}
        self.lock = threading.Lock()
        self._stop = threading.Event()
        if cluster is not None:
            self._hook(cluster)
        self._server = http.server.ThreadingHTTPServer(
            (host or "127.0.0.1", port), type("Bound", (Handler,), {"owner": self})
        )
        self._server.daemon_threads = True
        if certfile:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certfile, keyfile)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.host, self.port = str(self._server.server_address[0]), int(self._server.server_address[1])
        hint = "" if host else "; give host='0.0.0.0' to open it to the network"
        logger.info("HTTP server at http%s://%s:%s%s", "s" if certfile else "", self.host, self.port, hint)
        self._thread = threading.Thread(target=self._server.serve_forever, name="octapi-httpd", daemon=True)
        self._thread.start()

    # ---- clusters

    def _hook(self, cluster: JobCluster) -> None:
        shown = Shown(cluster)
        self.clusters[cluster.name] = shown
        theirs = cluster.cluster_status

        def status(status: int, node: DispyNode | None, job: DispyJob | None) -> None:
            self.cluster_status(shown, status, node, job)
            if theirs is not None:
                theirs(status, node, job)

        cluster.cluster_status = status

    def cluster_status(self, info: Shown, status: int, node: DispyNode | None, job: DispyJob | None) -> None:
        """Take one event of a cluster; ``info`` is what is shown of it."""
        with self.lock:
            info.take(status, node, job)

    def add_cluster(self, cluster: JobCluster) -> None:
        """Show one more cluster; one that has a cluster_status of its own must call ours from there."""
        if cluster.name in self.clusters:
            logger.warning('A cluster "%s" is shown already', cluster.name)
        elif cluster.cluster_status is None:
            self._hook(cluster)
        else:
            self.clusters[cluster.name] = Shown(cluster)

    def del_cluster(self, cluster: JobCluster) -> None:
        """Show a cluster no more."""
        for name, shown in list(self.clusters.items()):
            if shown.cluster is cluster:
                del self.clusters[name]

    def shutdown(self, wait: bool = True) -> None:
        """Stop; with ``wait`` the page is given ``poll_sec`` seconds to fetch the last state."""
        if wait:
            self._stop.wait(self.poll_sec)
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # ---- what is asked

    def named(self, name: str) -> list[JobCluster]:
        """Return the cluster with a name, or all for ``*``."""
        return [shown.cluster for key, shown in self.clusters.items() if name in ("*", key)]

    def get_cluster_status(self) -> Any:
        """All clusters with all their nodes."""
        with self.lock:
            return [s.as_json(list(s.cluster.nodes.found.values())) for s in self.clusters.values()]

    get_nodes = get_cluster_status

    def get_cluster_updates(self) -> Any:
        """All clusters with the nodes that changed since the last call."""
        with self.lock:
            found = [s.as_json(list(s.changed.values())) for s in self.clusters.values()]
            for shown in self.clusters.values():
                shown.changed.clear()
            return found

    def post_node_info(self, form: dict[str, list[str]]) -> Any:
        """A node and the jobs that run there."""
        host = form["host"][0]
        nodes = [
            n for s in self.clusters.values() for n in s.cluster.nodes.found.values() if host in (n.ip_addr, n.name)
        ]
        with self.lock:
            jobs = {
                name: s.running(n.ip_addr, self.show_job_args) for name, s in self.clusters.items() for n in nodes[:1]
            }
        return {"node": plain(nodes[0]) if nodes else None, "cluster_jobs": jobs}

    def post_cancel_jobs(self, form: dict[str, list[str]]) -> Any:
        """Cancel jobs by uid, and return which were."""
        wanted = {int(text) for text in form.get("uid", []) if text.isdigit()}
        jobs = [(shown.cluster, job) for shown in list(self.clusters.values()) for job in shown.cluster.pending_jobs()]
        return [job._uid for cluster, job in jobs if job._uid in wanted and cluster.cancel(job) == 0]

    def post_add_node(self, form: dict[str, list[str]]) -> Any:
        """Use one more node."""
        entry = NodeAllocate(form["host"][0], form.get("port", [None])[0], form.get("cpus", ["0"])[0] or 0)
        return max((c.allocate_node(entry) for c in self.named(form.get("cluster", ["*"])[0])), default=-1)

    def _on_nodes(self, form: dict[str, list[str]], method: str) -> int:
        nodes = json.loads(form["nodes"][0])
        answers = [getattr(c, method)(node) for c in self.named(form["cluster"][0]) for node in nodes]
        return int(min(answers, default=-1))

    def post_close_node(self, form: dict[str, list[str]]) -> Any:
        """Close nodes."""
        return self._on_nodes(form, "close_node")

    def post_allocate_node(self, form: dict[str, list[str]]) -> Any:
        """Use nodes again."""
        return self._on_nodes(form, "allocate_node")

    def post_deallocate_node(self, form: dict[str, list[str]]) -> Any:
        """Give nodes no new jobs."""
        return self._on_nodes(form, "deallocate_node")

    def post_set_cpus(self, form: dict[str, list[str]]) -> Any:
        """Use another number of CPUs of nodes, and return the numbers."""
        answers: dict[str, int] = {}
        for address, (count, *_) in form.items():
            for cluster in self.named("*"):
                found = cluster.set_node_cpus(address, int(count))
                if found >= 0:
                    answers[address] = found
        return answers

    def post_update(self, form: dict[str, list[str]]) -> Any:
        """Change how often the page asks, and whether it shows arguments."""
        if "timeout" in form:
            self.poll_sec = max(1.0, float(form["timeout"][0]))
        if "show_job_args" in form:
            self.show_job_args = form["show_job_args"][0] in ("true", "1")
        return {"timeout": self.poll_sec, "show_job_args": self.show_job_args}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests to one server."""

    owner: DispyHTTPServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the page, a file of the user's, or what is asked for as JSON."""
        path = urllib.parse.urlsplit(self.path).path
        if not self.is_local_name():
            self.refuse(HTTPStatus.FORBIDDEN, "This page is asked for under a foreign name.")
        elif path in ("/cluster_status", "/cluster_updates", "/nodes"):
            self.answer(getattr(self.owner, f"get_{path[1:]}")())
        elif path in ("/", "/monitor.html") and self.owner.root is None:
            self.send(PAGE.read_bytes(), "text/html")
        else:
            self.static(path)

    def do_POST(self) -> None:
        """Do what a form asks, unless it comes from another site."""
        method = getattr(self.owner, "post_" + urllib.parse.urlsplit(self.path).path.strip("/"), None)
        size = int(self.headers.get("Content-Length") or 0)
        if not self.is_local_name() or not self.is_own_origin():
            self.refuse(HTTPStatus.FORBIDDEN, "Another site may not ask for this.")
        elif method is None:
            self.refuse(HTTPStatus.NOT_FOUND, "There is no such call.")
        elif size > FORM_LIMIT:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The form is too long.")
        else:
            form = urllib.parse.parse_qs(self.rfile.read(size).decode("utf-8", "replace"))
            try:
                self.answer(method(form))
            except (KeyError, ValueError) as error:
                self.refuse(HTTPStatus.BAD_REQUEST, f"The form is not as it should be: {error!r}")

    def is_local_name(self) -> bool:
        """Whether the page is asked for under this computer's name: another name may be a trap (DNS rebinding)."""
        name = urllib.parse.urlsplit("//" + (self.headers.get("Host") or "")).hostname or ""
        return self.owner.host not in LOOPBACK or name in LOOPBACK

    def is_own_origin(self) -> bool:
        """Whether a form was sent by the page itself, or by a program."""
        origin = self.headers.get("Origin")
        return origin is None or urllib.parse.urlsplit(origin).netloc == self.headers.get("Host")

    def static(self, path: str) -> None:
        """Send a file below the user's own directory."""
        root = self.owner.root.resolve() if self.owner.root is not None else None
        kind = TYPES.get(Path(path).suffix or ".html")
        full = (root / (path.lstrip("/") or "monitor.html")).resolve() if root is not None else None
        if kind and full is not None and root is not None and full.is_relative_to(root) and full.is_file():
            self.send(full.read_bytes(), kind)
        else:
            self.refuse(HTTPStatus.NOT_FOUND, "There is no such page.")

    def answer(self, value: object) -> None:
        """Send JSON."""
        self.send(json.dumps(value).encode(), "application/json")

    def refuse(self, status: HTTPStatus, text: str) -> None:
        """Say why not."""
        self.close_connection = True  # what was not read must not be taken for the next request
        self.send(text.encode(), "text/plain", status)

    def send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Send a whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's name)
        """Log to dispy's logger."""
        logger.debug(format, *args)
