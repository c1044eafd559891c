"""Make a semi-prime: two secret primes, multiplied.  What factor_standalone.py takes apart again.

    python3 semi_prime_standalone.py [DIGITS]

DIGITS is how many digits each of the two primes has, 5 by default.
"""

import random
import sys

from primality_standalone import miller_rabin


def random_prime(digits):
    """Return a random prime with so many digits."""
    while True:
        n = random.randrange(10 ** (digits - 1), 10**digits)
        if miller_rabin(n):
            return n


if __name__ == "__main__":
    if len(sys.argv) > 2 or not all(text.isdigit() and int(text) for text in sys.argv[1:]):
        sys.exit("usage: semi_prime_standalone.py [DIGITS]")
    digits = int(sys.argv[1]) if len(sys.argv) == 2 else 5
    p, q = random_prime(digits), random_prime(digits)
    print(f"{p} * {q} = {p * q}")
