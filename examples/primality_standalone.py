"""Primes in a range, without a cluster: how long do three ways to test a number take on one core?

    python3 primality_standalone.py [LOWER UPPER]
"""

import random
import sys
import time


def naive(n):
    """Try every divisor up to the square root."""
    if n < 2:
        return False
    divisor = 2
    while divisor * divisor <= n:
        if n % divisor == 0:
            return False
        divisor += 1
    return True


def fermat(n, rounds=20):
    """A prime p divides a**(p-1) - 1 for every a; some rare numbers that are not prime pass too."""
    if n < 4:
        return n in (2, 3)
    return all(pow(random.randrange(2, n - 1), n - 1, n) == 1 for _ in range(rounds))


def miller_rabin(n, rounds=20):
    """Fermat's idea, but looking at square roots of 1 on the way, which no composite number survives for long."""
    if n < 4:
        return n in (2, 3)
    if n % 2 == 0:
        return False
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(rounds):
        x = pow(random.randrange(2, n - 1), odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


if __name__ == "__main__":
    if len(sys.argv) not in (1, 3) or not all(text.isdigit() for text in sys.argv[1:]):
        sys.exit("usage: primality_standalone.py [LOWER UPPER]")
    lower, upper = (int(text) for text in sys.argv[1:]) if len(sys.argv) == 3 else (1_000_000, 1_020_000)
    for name, test in (("naive", naive), ("Fermat", fermat), ("Miller-Rabin", miller_rabin)):
        started = time.time()
        primes = sum(test(n) for n in range(lower, upper + 1))
        print(f"{name}: {primes} primes from {lower} to {upper} in {time.time() - started:.2f} seconds on one core")
