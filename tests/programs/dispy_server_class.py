"""A class that owns its cluster, waits and submits in its callback, allocates nodes and shows them by HTTP, works."""

import pathlib
import threading

import dispy
import dispy.httpd


def check(a=None, b=()):
    import platform

    return f"{platform.node()} passed"


def setup(modules):
    print("it begins")
    for name in modules:
        globals()[name] = __import__(name)
    return 0


def work(n):
    return json.dumps({"n": math.floor(n)})


class Server:
    def __init__(self):
        self.nodes, self.checked, self.done, self.is_ready = [], [], [], threading.Event()
        self.cluster = dispy.JobCluster(
            check, ["*"], recover_file="server.dat", pulse_interval=60, cluster_status=self.status
        )
        self.cluster.discover_nodes(["*"])
        assert self.is_ready.wait(60), "no node came"
        self.cluster.close()

    def status(self, status, node, job):
        if status == dispy.DispyNode.Initialized:
            pathlib.Path("settings.txt").write_text("x")
            sent = self.cluster.send_file("settings.txt", node)
            assert sent == 0, sent
            job = self.cluster.submit_node(node, None, ())
            self.cluster.wait()
            self.checked.append(job.result)
            self.nodes.append(node)
            self.is_ready.set()

    def run(self):
        nodes = [dispy.NodeAllocate(node.ip_addr, setup_args=(("json", "math"),)) for node in self.nodes]
        cluster = dispy.JobCluster(
            work, nodes, [], self.done.append, None, pulse_interval=60, setup=setup,
            loglevel=dispy.logger.CRITICAL, reentrant=True,
        )  # fmt: skip
        page = dispy.httpd.DispyHTTPServer(cluster, poll_sec=2, port=0)
        jobs = [cluster.submit(n + 0.5) for n in range(6)]
        found = [job() for job in jobs]
        cluster.wait()
        page.shutdown()
        cluster.close()
        return found


if __name__ == "__main__":
    server = Server()
    assert server.checked, "the callback got nothing"
    assert all(found.endswith("passed") for found in server.checked), server.checked
    found = server.run()
    assert found == ['{"n": %d}' % n for n in range(6)], found
    ended = [job for job in server.done if job.status == dispy.DispyJob.Finished]
    assert len(ended) == 6, [job.status for job in server.done]
    by_hand = dispy.DispyJob(None, (1,), {})
    by_hand.result = 5
    assert by_hand.result == 5, by_hand
    print("holds")
