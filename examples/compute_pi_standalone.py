"""Pi by throwing darts, without a cluster: how long does it take on one core?

    python3 compute_pi_standalone.py [POINTS]

A dart lands in a square at random.  The share that lands in the quarter circle inside is pi / 4.
"""

import random
import sys
import time


def darts_inside(points):
    """Throw darts, and count those in the quarter circle."""
    inside = 0
    for _ in range(points):
        x, y = random.random(), random.random()
        if x * x + y * y <= 1.0:
            inside += 1
    return inside


if __name__ == "__main__":
    if len(sys.argv) > 2 or not all(text.isdigit() for text in sys.argv[1:]):
        sys.exit("usage: compute_pi_standalone.py [POINTS]")
    points = int(sys.argv[1]) if len(sys.argv) == 2 else 2_000_000
    started = time.time()
    pi = 4 * darts_inside(points) / points
    print(f"pi is about {pi:.6f}, from {points} points in {time.time() - started:.2f} seconds on one core")
