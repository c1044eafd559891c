"""The first OctaPi script in the modern way: a cluster is a standard executor."""

import random
import socket
import time

import octapi


def compute(n):
    time.sleep(n)
    return socket.gethostname(), n


if __name__ == "__main__":
    with octapi.Cluster() as cluster:
        jobs = [cluster.submit(compute, random.uniform(0.05, 0.25)) for _ in range(20)]
        for number, job in enumerate(jobs):
            host, n = job.result()
            print(f"{host} executed job {number} on {job.worker} with {n:.3f}")
