"""How much memory is held: an idle worker with four slots, and client and master during a million jobs."""

import contextlib
import os
import subprocess
import sys
import textwrap

import psutil

MB = 1e6


def worker_cluster(slots):
    from octapi.testing import EmbeddedCluster

    return EmbeddedCluster(workers=1, slots=slots)


def pss(pid):
    """Return the proportional set size of a process and all its descendants, in MB."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    total = 0
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += member.memory_full_info().pss
    return total / MB


def busy(n):
    import time

    time.sleep(0.3)
    return n


def idle_worker():
    """Return the memory of a worker whose four slots have run jobs of a script, in MB."""
    import octapi

    with worker_cluster(4) as embedded, octapi.Cluster(embedded.address, progress=False) as cluster:
        list(cluster.map(busy, range(16)))
        return pss(embedded.processes[-1].pid)


def dask_workers():
    """Return the memory of four Dask workers with their nannies, in MB."""
    from distributed import Client

    with Client(n_workers=4, threads_per_worker=1, dashboard_address=None) as client:
        client.gather(client.map(busy, range(16), pure=False))
        return pss(os.getpid()) - psutil.Process().memory_full_info().pss / MB


MILLION = """
    import os, sys, threading, psutil
    import octapi
    from benchmarks.work import nothing
    count, lower, upper = int(sys.argv[2]), 20_000, 40_000
    master = psutil.Process(int(sys.argv[3]))
    pending, changed = 0, threading.Condition()
    def done(job):
        global pending
        with changed:
            pending -= 1
            if pending == lower:
                changed.notify()
    with octapi.Cluster(sys.argv[1], progress=False) as cluster:
        for number in range(count):
            with changed:
                if pending >= upper:
                    changed.wait_for(lambda: pending <= lower)
                pending += 1
            cluster.submit(nothing, number).add_done_callback(done)
            if (number + 1) % (count // 10) == 0:
                sizes = psutil.Process().memory_info().rss / 1e6, master.memory_info().rss / 1e6
                print(number + 1, *(f"{size:.0f}" for size in sizes), flush=True)
"""
ITEMS = """
    import os, sys, psutil
    import octapi
    from benchmarks.work import nothing
    count = int(sys.argv[2])
    master = psutil.Process(int(sys.argv[3]))
    with octapi.Cluster(sys.argv[1], progress=False) as cluster:
        for number, value in enumerate(cluster.map(nothing, range(count))):
            if (number + 1) % (count // 10) == 0:
                sizes = psutil.Process().memory_info().rss / 1e6, master.memory_info().rss / 1e6
                print(number + 1, *(f"{size:.0f}" for size in sizes), flush=True)
"""


def growth(code, count):
    """Return rows of (jobs done, client's memory, master's memory), in MB."""
    with worker_cluster(2) as embedded:
        pid = str(embedded.processes[0].pid)
        command = [sys.executable, "-c", textwrap.dedent(code), embedded.address, str(count), pid]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [tuple(int(cell) for cell in line.split()) for line in done.stdout.splitlines()]
