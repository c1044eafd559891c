"""Primes in a range, the modern way: map over the candidates, however many there are.

    python3 primality_octapi.py LOWER UPPER ALGORITHM
"""

import sys

import octapi

from primality_standalone import fermat, miller_rabin, naive

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[3] not in ("0", "1", "2"):
        sys.exit("usage: primality_octapi.py LOWER UPPER ALGORITHM  (0 naive, 1 Fermat, 2 Miller-Rabin)")
    lower, upper, algorithm = (int(text) for text in sys.argv[1:])
    candidates = range(lower, upper + 1)
    with octapi.Cluster() as cluster:
        answers = cluster.map((naive, fermat, miller_rabin)[algorithm], candidates)
        primes = [n for n, is_prime in zip(candidates, answers) if is_prime]
    print(f"{len(primes)} primes from {lower} to {upper}; the last ones: {primes[-3:]}")
