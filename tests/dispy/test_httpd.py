"""dispy.httpd: the JSON interface and the page, over a real socket."""

import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ["OCTAPI_ADDRESS"] = "local"

import dispy
import dispy.httpd
from tests.harness import until


def nap(seconds):
    time.sleep(seconds)
    return seconds


@pytest.fixture
def cluster() -> Iterator[Any]:
    found = dispy.JobCluster(nap)
    yield found
    found.close(timeout=0, terminate=True)


@pytest.fixture
def server(cluster: Any) -> Iterator[Any]:
    found = dispy.httpd.DispyHTTPServer(cluster, port=0, poll_sec=1)
    yield found
    found.shutdown(wait=False)


def get(server: Any, path: str, **headers: str) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def post(server: Any, path: str, form: dict[str, Any], **headers: str) -> Any:
    body = urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def refused(call: Callable[[], Any]) -> int:
    """Return the status with which the server refuses a call."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        call()
    caught.value.close()
    return caught.value.code


def test_the_status_counts_jobs_and_names_nodes(server: Any, cluster: Any) -> None:
    """Submitted and done as dispy counts them, every field of a node."""
    for job in [cluster.submit(0) for _ in range(5)]:
        job()
    status = until(lambda: (s := json.loads(get(server, "/cluster_status")))[0]["jobs"]["done"] == 5 and s)

    assert status[0]["name"] == "nap"
    assert status[0]["jobs"] == {"submitted": 5, "done": 5}
    assert status[0]["nodes"][0]["jobs_done"] == 5
    assert {"ip_addr", "cpus", "avail_cpus", "busy", "cpu_time", "tx", "rx", "avail_info"} <= set(status[0]["nodes"][0])


def test_updates_hold_what_changed_since_the_last_time(server: Any, cluster: Any) -> None:
    """Each node once."""
    cluster.submit(0)()
    until(lambda: json.loads(get(server, "/cluster_status"))[0]["jobs"]["done"] == 1)

    assert len(json.loads(get(server, "/cluster_updates"))[0]["nodes"]) == 1
    assert json.loads(get(server, "/cluster_updates"))[0]["nodes"] == []


def test_a_running_job_is_shown_and_cancelled(server: Any, cluster: Any) -> None:
    """By the uid that node_info tells."""
    job = cluster.submit(60)
    node = cluster.status().nodes[0]
    jobs = until(lambda: post(server, "/node_info", {"host": node.name})["cluster_jobs"]["nap"])

    assert jobs[0]["args"] == "60"
    assert post(server, "/cancel_jobs", {"uid": jobs[0]["uid"]}) == [jobs[0]["uid"]]
    job()
    assert job.status == dispy.DispyJob.Terminated


def test_cpus_are_set_and_nodes_allocated(server: Any, cluster: Any) -> None:
    """The calls of dispy's own page."""
    node = cluster.status().nodes[0]

    assert post(server, "/set_cpus", {node.name: 1}) == {node.name: 1}
    assert post(server, "/deallocate_node", {"cluster": "*", "nodes": json.dumps([node.name])}) == 0
    assert post(server, "/allocate_node", {"cluster": "nap", "nodes": json.dumps([node.name])}) == 0
    assert post(server, "/update", {"timeout": "0", "show_job_args": "false"})["timeout"] == 1


def test_the_page_is_served_and_nothing_else(server: Any) -> None:
    """No file of the computer can be fetched."""
    assert "<h1>Cluster status</h1>" in get(server, "/")
    for path in ("/../../etc/passwd", "/secret.txt", "/%2e%2e/x.js"):
        assert refused(lambda path=path: get(server, path)) == 404


def test_another_site_cannot_use_the_interface(server: Any) -> None:
    """A foreign Origin or Host is refused."""
    evil = {"Origin": "http://evil.example"}
    assert refused(lambda: post(server, "/cancel_jobs", {"uid": 1}, **evil)) == 403
    assert refused(lambda: get(server, "/cluster_status", Host="evil.example")) == 403
    assert refused(lambda: post(server, "/node_info", {"x": 1})) == 400


def test_the_users_cluster_status_is_called_too(cluster: Any) -> None:
    """The page comes first, then the script's own function; nothing is left after shutdown."""
    seen = []
    cluster.cluster_status = lambda status, node, job: seen.append(status)
    server = dispy.httpd.DispyHTTPServer(cluster, port=0)
    cluster.submit(0)()
    until(lambda: dispy.DispyJob.Finished in seen)
    server.shutdown(wait=False)

    assert "octapi-httpd" not in {thread.name for thread in threading.enumerate()}
