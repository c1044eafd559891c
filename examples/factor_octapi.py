"""Take a semi-prime apart, the modern way: the first hit ends the search.

    python3 factor_octapi.py SEMI_PRIME
"""

import math
import sys

import octapi

from factor_standalone import smallest_factor

RANGE = 200_000

if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit("usage: factor_octapi.py SEMI_PRIME")
    n = int(sys.argv[1])
    end = math.isqrt(n) + 1
    starts = range(2, end, RANGE)
    with octapi.Cluster() as cluster:
        tried = cluster.map(smallest_factor, [n] * len(starts), starts, [min(s + RANGE, end) for s in starts], ordered=False)
        factor = next((found for found in tried if found), None)
        tried.close()
    print(f"{n} = {factor} * {n // factor}" if factor else f"{n} is prime")
