"""Take a semi-prime apart, without a cluster: how long does it take on one core?

    python3 factor_standalone.py [SEMI_PRIME]
"""

import math
import sys
import time


def smallest_factor(n, start, stop):
    """Return the smallest divisor of n from start up to stop, or None."""
    if n % 2 == 0 and start <= 2:
        return 2
    for divisor in range(max(start, 3) | 1, stop, 2):
        if n % divisor == 0:
            return divisor
    return None


if __name__ == "__main__":
    if len(sys.argv) > 2 or not all(text.isdigit() and int(text) > 3 for text in sys.argv[1:]):
        sys.exit("usage: factor_standalone.py [SEMI_PRIME]")
    n = int(sys.argv[1]) if len(sys.argv) == 2 else 239812014798221
    started = time.time()
    factor = smallest_factor(n, 2, math.isqrt(n) + 1)
    taken = time.time() - started
    if factor is None:
        print(f"{n} is prime, found in {taken:.2f} seconds on one core")
    else:
        print(f"{n} = {factor} * {n // factor}, found in {taken:.2f} seconds on one core")
