"""How long it takes to start: imports, and a fresh process to its first result; in seconds."""

import os
import statistics
import subprocess
import sys
import time

from benchmarks.memory import worker_cluster

FIRST = "import octapi\nwith octapi.Cluster(progress=False) as c:\n    assert c.submit(abs, -1).result() == 1\n"


def process(code, **env):
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ, **env), stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def measure(repeat):
    """Return seconds for ``import octapi`` beyond a bare Python, and to the first result without and with a cluster."""
    bare = statistics.median(process("pass") for _ in range(repeat))
    found = {"import octapi": statistics.median(process("import octapi") for _ in range(repeat)) - bare}
    alone = [process(FIRST, OCTAPI_ADDRESS="local") for _ in range(repeat)]
    found["first result without a cluster"] = statistics.median(alone)
    with worker_cluster(1) as embedded:
        with_cluster = [process(FIRST, OCTAPI_ADDRESS=embedded.address) for _ in range(repeat)]
    found["first result with a cluster"] = statistics.median(with_cluster)
    return found
