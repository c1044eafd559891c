"""Pi by throwing darts, the modern way: map keeps the queue bounded by itself.

    python3 compute_pi_octapi.py POINTS JOBS
"""

import random
import sys

import octapi


def darts_inside(points):
    return sum(random.random() ** 2 + random.random() ** 2 <= 1.0 for _ in range(points))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: compute_pi_octapi.py POINTS JOBS")
    points, count = int(sys.argv[1]), int(sys.argv[2])
    with octapi.Cluster() as cluster:
        inside = sum(cluster.map(darts_inside, [points] * count))
    print(f"pi is about {4 * inside / (points * count):.6f}, from {points * count} points in {count} jobs")
