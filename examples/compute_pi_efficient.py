"""Pi by throwing darts, the careful dispy way: never more than a few hundred jobs wait at once.

    python3 compute_pi_efficient.py POINTS JOBS

A million jobs that all wait fill the memory.  Here the script pauses at an upper bound and goes on
when the callback has seen enough of them finish, and it keeps a sum instead of a list of jobs.
"""

import sys
import threading

LOWER, UPPER = 200, 400


def compute(points):
    """Throw darts, and count those in the quarter circle; runs on a node, so it imports for itself."""
    import random

    inside = 0
    for _ in range(points):
        x, y = random.random(), random.random()
        if x * x + y * y <= 1.0:
            inside += 1
    return inside


class Tally:
    """What came back so far, and how many jobs are on their way."""

    def __init__(self):
        self.inside = 0
        self.pending = 0
        self.failed = None
        self.changed = threading.Condition()

    def job_status(self, job):
        """Called by dispy, in a thread of its own, whenever a job has ended."""
        with self.changed:
            if job.status == dispy.DispyJob.Finished:
                self.inside += job.result
            else:
                self.failed = job.exception
            self.pending -= 1
            if self.pending <= LOWER:
                self.changed.notify()

    def submit(self, cluster, points):
        """Submit one job, after a pause if too many are pending."""
        with self.changed:
            if self.pending >= UPPER:
                self.changed.wait_for(lambda: self.pending <= LOWER)
            self.pending += 1
        cluster.submit(points)


if __name__ == "__main__":
    import dispy

    if len(sys.argv) != 3 or not all(text.isdigit() and int(text) for text in sys.argv[1:]):
        sys.exit("usage: compute_pi_efficient.py POINTS JOBS")
    points, count = int(sys.argv[1]), int(sys.argv[2])
    tally = Tally()
    cluster = dispy.JobCluster(compute, job_status=tally.job_status)
    for _ in range(count):
        tally.submit(cluster, points)
    cluster.wait()
    with tally.changed:  # the last callbacks come after the last job
        tally.changed.wait_for(lambda: tally.pending == 0)
    if tally.failed:
        sys.exit(f"a job failed: {tally.failed}")
    print(f"pi is about {4 * tally.inside / (points * count):.6f}, from {points * count} points in {count} jobs")
    cluster.print_status()
