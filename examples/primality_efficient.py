"""Primes in a range, the careful dispy way: one job for each candidate, a bounded number pending.

    python3 primality_efficient.py LOWER UPPER ALGORITHM

ALGORITHM is 0 for trying every divisor, 1 for Fermat's test, 2 for Miller's and Rabin's.
"""

import sys
import threading

LOWER_BOUND, UPPER_BOUND = 5_000, 10_000


def is_prime(n, algorithm):
    """Say whether n is prime: 0 tries every divisor, 1 is Fermat's test, 2 Miller's and Rabin's."""
    import random

    if n < 4:
        return n in (2, 3)
    if n % 2 == 0:
        return False
    if algorithm == 0:
        divisor = 3
        while divisor * divisor <= n:
            if n % divisor == 0:
                return False
            divisor += 2
        return True
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(20):
        base = random.randrange(2, n - 1)
        if algorithm == 1:
            if pow(base, n - 1, n) != 1:
                return False
            continue
        x = pow(base, odd, n)
        steps = 1
        while steps < twos and x not in (1, n - 1):
            x = x * x % n
            steps += 1
        # the last square before 1 must have been -1
        if x != n - 1 and not (x == 1 and steps == 1):
            return False
    return True


class Found:
    """The primes found so far, and how many candidates are on their way."""

    def __init__(self):
        self.primes = []
        self.pending = 0
        self.failed = None
        self.changed = threading.Condition()

    def job_status(self, job):
        """Called by dispy, in a thread of its own, whenever a job has ended."""
        with self.changed:
            if job.status != dispy.DispyJob.Finished:
                self.failed = job.exception
            elif job.result:
                self.primes.append(job.id)
            self.pending -= 1
            if self.pending in (0, LOWER_BOUND):
                self.changed.notify()

    def submit(self, cluster, n, algorithm):
        """Submit one candidate, after a pause if too many are pending."""
        with self.changed:
            if self.pending >= UPPER_BOUND:
                self.changed.wait_for(lambda: self.pending <= LOWER_BOUND)
            self.pending += 1
        cluster.submit_job_id(n, n, algorithm)


def arguments():
    """Read the command line: two numbers, and which of the three ways to use."""
    texts = sys.argv[1:]
    if len(texts) != 3 or not all(text.isdigit() for text in texts) or texts[2] not in ("0", "1", "2"):
        sys.exit("usage: primality_efficient.py LOWER UPPER ALGORITHM  (0 naive, 1 Fermat, 2 Miller-Rabin)")
    return tuple(int(text) for text in texts)


if __name__ == "__main__":
    import dispy

    lower, upper, algorithm = arguments()
    found = Found()
    cluster = dispy.JobCluster(is_prime, job_status=found.job_status)
    for n in range(lower, upper + 1):
        found.submit(cluster, n, algorithm)
    with found.changed:
        found.changed.wait_for(lambda: found.pending == 0)
    if found.failed:
        sys.exit(f"a job failed: {found.failed}")
    primes = sorted(found.primes)
    print(f"{len(primes)} primes from {lower} to {upper}; the last ones: {primes[-3:]}")
    cluster.print_status()
