"""Primes in a range, the plain dispy way: one job for each candidate, all submitted at once.

    python3 primality_canonical.py LOWER UPPER ALGORITHM

ALGORITHM is 0 for trying every divisor, 1 for Fermat's test, 2 for Miller's and Rabin's.
"""

import sys


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


def arguments():
    """Read the command line: two numbers, and which of the three ways to use."""
    texts = sys.argv[1:]
    if len(texts) != 3 or not all(text.isdigit() for text in texts) or texts[2] not in ("0", "1", "2"):
        sys.exit("usage: primality_canonical.py LOWER UPPER ALGORITHM  (0 naive, 1 Fermat, 2 Miller-Rabin)")
    return tuple(int(text) for text in texts)


if __name__ == "__main__":
    import dispy

    lower, upper, algorithm = arguments()
    cluster = dispy.JobCluster(is_prime)
    jobs = []
    for n in range(lower, upper + 1):
        job = cluster.submit(n, algorithm)
        job.id = n
        jobs.append(job)
    primes = [job.id for job in jobs if job()]
    failed = [job for job in jobs if job.status != dispy.DispyJob.Finished]
    if failed:
        sys.exit(f"{len(failed)} jobs failed; the first one: {failed[0].exception}")
    print(f"{len(primes)} primes from {lower} to {upper}; the last ones: {primes[-3:]}")
    cluster.print_status()
