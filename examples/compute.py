"""The first OctaPi script: jobs that wait for a moment and say which device they ran on.

Run it on the master with ``python3 ./compute.py``.
"""

import random

import dispy


def compute(n):
    """Wait for n seconds, on whichever node this runs."""
    import socket
    import time

    time.sleep(n)
    return (socket.gethostname(), n)


if __name__ == "__main__":
    cluster = dispy.JobCluster(compute)
    jobs = []
    for number in range(20):
        job = cluster.submit(random.uniform(0.05, 0.25))
        job.id = number
        jobs.append(job)
    for job in jobs:
        host, n = job()
        print(f"{host} executed job {job.id} at {job.start_time:.3f} with {n:.3f}")
    cluster.print_status()
