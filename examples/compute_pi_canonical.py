"""Pi by throwing darts, the plain dispy way: submit every job, then collect every result.

    python3 compute_pi_canonical.py POINTS JOBS

Each of JOBS jobs throws POINTS darts.
"""

import sys


def compute(points):
    """Throw darts, and count those in the quarter circle; runs on a node, so it imports for itself."""
    import random

    inside = 0
    for _ in range(points):
        x, y = random.random(), random.random()
        if x * x + y * y <= 1.0:
            inside += 1
    return inside


if __name__ == "__main__":
    import dispy

    if len(sys.argv) != 3 or not all(text.isdigit() and int(text) for text in sys.argv[1:]):
        sys.exit("usage: compute_pi_canonical.py POINTS JOBS")
    points, count = int(sys.argv[1]), int(sys.argv[2])
    cluster = dispy.JobCluster(compute)
    jobs = []
    for number in range(count):
        job = cluster.submit(points)
        job.id = number
        jobs.append(job)
    inside = 0
    for job in jobs:
        result = job()
        if job.status != dispy.DispyJob.Finished:
            sys.exit(f"job {job.id} failed: {job.exception}")
        inside += result
    print(f"pi is about {4 * inside / (points * count):.6f}, from {points * count} points in {count} jobs")
    cluster.print_status()
