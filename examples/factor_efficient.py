"""Take a semi-prime apart with dispy: each job tries a range of divisors, and the first hit ends the search.

    python3 factor_efficient.py SEMI_PRIME
"""

import math
import sys
import threading

#: how many numbers one job tries, and how many jobs may be pending
RANGE, PENDING = 200_000, 64


def smallest_factor(n, start, stop):
    """Return the smallest divisor of n from start up to stop, or None."""
    if n % 2 == 0 and start <= 2:
        return 2
    for divisor in range(max(start, 3) | 1, stop, 2):
        if n % divisor == 0:
            return divisor
    return None


class Search:
    """The factor, once it is found, and how many ranges are being tried."""

    def __init__(self):
        self.factor = None
        self.failed = None
        self.pending = set()
        self.changed = threading.Condition()

    def job_status(self, job):
        """Called by dispy, in a thread of its own, whenever a job has ended."""
        with self.changed:
            if job.status == dispy.DispyJob.Finished and job.result:
                self.factor = job.result
            elif job.status == dispy.DispyJob.Terminated and self.factor is None:
                self.failed = job.exception
            self.pending.discard(job.id)
            self.changed.notify()

    def is_over(self):
        """Say whether there is nothing left to wait for."""
        return self.factor is not None or self.failed is not None


if __name__ == "__main__":
    import dispy

    if len(sys.argv) != 2 or not sys.argv[1].isdigit() or int(sys.argv[1]) < 4:
        sys.exit("usage: factor_efficient.py SEMI_PRIME")
    n = int(sys.argv[1])
    end = math.isqrt(n) + 1
    search = Search()
    cluster = dispy.JobCluster(smallest_factor, job_status=search.job_status)
    for start in range(2, end, RANGE):
        with search.changed:
            search.changed.wait_for(lambda: search.is_over() or len(search.pending) < PENDING)
            if search.is_over():
                break
            search.pending.add(start)
        cluster.submit_job_id(start, n, start, min(start + RANGE, end))
    with search.changed:
        search.changed.wait_for(lambda: search.is_over() or not search.pending)
    if search.failed:
        sys.exit(f"a job failed: {search.failed}")
    print(f"{n} = {search.factor} * {n // search.factor}" if search.factor else f"{n} is prime")
    cluster.print_status()
    cluster.close(timeout=0, terminate=True)
